"""What needs no key: the API's description, the links of mails, the provider's webhook."""

from urllib.parse import quote

from ccl_service.client.transport import Request, Transport, operation
from ccl_service.mail.webhook import WebhookAnswer, WebhookBody
from ccl_service.platform.views import OpenApiDocument, ProblemList, ProblemView


class Description:
    """What the service says about itself."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    @operation("get_api_openapi_json")
    async def openapi(self) -> OpenApiDocument:
        """The API's document."""
        return await self._transport.json(OpenApiDocument, Request("GET", "api/openapi.json"))

    @operation("get_api_docs")
    async def page(self) -> str:
        """The same as a page."""
        return await self._transport.text(Request("GET", "api/docs"))

    @operation("get_api_static_name")
    async def asset(self, name: str) -> str:
        """A file that a page names."""
        return await self._transport.text(Request("GET", f"api/static/{quote(name, safe='')}"))

    @operation("get_api_problems")
    async def problems(self) -> ProblemList:
        """Every kind of problem."""
        return await self._transport.json(ProblemList, Request("GET", "api/problems"))

    @operation("get_api_problems_code")
    async def problem(self, code: str) -> ProblemView:
        """One kind of problem."""
        return await self._transport.json(ProblemView, Request("GET", f"api/problems/{quote(code, safe='')}"))


class Mail:
    """The links that mails carry, which answer with pages; and Mailgun's events."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    @operation("get_api_r_token")
    async def returning(self, token: str) -> str:
        """The page behind a return link."""
        return await self._transport.text(Request("GET", f"api/r/{quote(token, safe='')}"))

    @operation("get_api_u_token")
    async def unsubscribing(self, token: str) -> str:
        """The page that asks before unsubscribing."""
        return await self._transport.text(Request("GET", f"api/u/{quote(token, safe='')}"))

    @operation("post_api_u_token")
    async def unsubscribe(self, token: str) -> str:
        """Unsubscribe; the second time changes nothing."""
        return await self._transport.text(Request("POST", f"api/u/{quote(token, safe='')}", repeatable=True))

    @operation("post_api_webhooks_mailgun")
    async def deliver(self, event: WebhookBody) -> WebhookAnswer:
        """Bring an event, as Mailgun does; one that was brought before is known."""
        return await self._transport.json(
            WebhookAnswer, Request("POST", "api/webhooks/mailgun", body=event, repeatable=True)
        )
