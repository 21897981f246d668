"""Routes of mail: the provider's webhook and the links that mails carry."""

from datetime import datetime
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from ccl_service.leads.tokens import LinkInvalid, read_return
from ccl_service.mail import pages
from ccl_service.mail.service import apply_event, count_event, unsubscribe
from ccl_service.mail.tokens import UnsubscribeLinkInvalid, read_unsubscribe
from ccl_service.mail.webhook import WebhookAnswer, WebhookBody, read_event
from ccl_service.platform.http import (
    CLOCK,
    DB,
    KEYS,
    METRICS,
    SETTINGS,
    Auth,
    LimitClass,
    Priority,
    Route,
    json_reply,
    read_body,
)
from ccl_service.platform.problems import NotAcceptable, NotFound, TryLater

#: An event is a few kilobytes; nobody has shown who they are before it is read.
MOST_BYTES: Final = 262_144


class WebhookKeyMissing(
    TryLater,
    code="WEBHOOK_001",
    title="Webhooks are not set up",
    remedy="Set MAILGUN_WEBHOOK_SIGNING_KEY; the provider tries again, so nothing is lost.",
):
    """The service has no key to check signatures with."""


async def post_mailgun(request: web.Request) -> web.Response:
    """POST /api/webhooks/mailgun: 200 applied or known. Problems: 401 signature, 406 malformed, 503 database away."""
    key = request.app[SETTINGS].mailgun_webhook_signing_key
    if key is None:
        raise WebhookKeyMissing
    event = read_event(await read_body(request), key.get_secret_value(), request.app[CLOCK]())
    applied = await apply_event(request.app[DB], event)
    if applied:
        count_event(request.app[METRICS].count, event)
    return json_reply(WebhookAnswer(applied=applied))


async def get_return(request: web.Request) -> web.Response:
    """GET /api/r/{token}: 200 a page, nothing changes. Problems: 404 forged or older than 48 hours."""
    now: datetime = request.app[CLOCK]()
    link = read_return(request.app[KEYS], request.match_info["token"], now)
    return _html(pages.welcome_back(f"{link.until:%B %d, %Y at %H:%M} UTC"))


async def get_unsubscribe(request: web.Request) -> web.Response:
    """GET /api/u/{token}: 200 a page with a button, nothing changes. Problems: 404 forged."""
    read_unsubscribe(request.app[KEYS], request.match_info["token"])
    return _html(pages.confirm_unsubscribe())


async def post_unsubscribe(request: web.Request) -> web.Response:
    """POST /api/u/{token}: 200, suppressed (RFC 8058 one-click, or the page's button). Problems: 404 forged, 503."""
    who = read_unsubscribe(request.app[KEYS], request.match_info["token"])
    if await unsubscribe(request.app[DB], who):
        request.app[METRICS].count("ccl_opt_outs", "link")
    return _html(pages.unsubscribed())


def _html(page: str) -> web.Response:
    # A link in a mail is a secret of its holder: neither caches nor other sites may learn it.
    headers = {"Cache-Control": "no-store", "X-Robots-Tag": "noindex"}
    return web.Response(text=page, content_type="text/html", headers=headers)


def _link(method: str, path: str, handler: Handler, error: type[NotFound], summary: str) -> Route:
    """A page behind a link that a mail carries."""
    return Route(
        method,
        path,
        handler,
        Auth.PUBLIC,
        LimitClass.FAILURES,
        priority=Priority.INTAKE,
        produces="text/html",
        errors=(error,),
        summary=summary,
    )


ROUTES: Final = (
    Route(
        "POST",
        "/api/webhooks/mailgun",
        post_mailgun,
        Auth.SIGNATURE,
        LimitClass.FAILURES,
        priority=Priority.WEBHOOK,
        body=WebhookBody,
        body_limit=MOST_BYTES,
        response=WebhookAnswer,
        errors=(NotAcceptable, WebhookKeyMissing),
        summary="Delivery events of Mailgun",
    ),
    _link("GET", "/api/r/{token}", get_return, LinkInvalid, "Return link of a mail"),
    _link("GET", "/api/u/{token}", get_unsubscribe, UnsubscribeLinkInvalid, "Asks before unsubscribing"),
    _link("POST", "/api/u/{token}", post_unsubscribe, UnsubscribeLinkInvalid, "Unsubscribes"),
)
