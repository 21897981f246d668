"""Is our Mailgun account as we were told: the key, the domain, the webhook signing key.

Source: Mailgun API reference, "Get domain details" (GET /v4/domains/{name}) and "Get webhook signing key"
(GET /v5/accounts/http_signing_key). A domain sending key may do nothing but send, so it is tried with a message
without sender and recipient, which Mailgun refuses as incomplete (400) only after it has accepted the key.
"""

import hmac
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import aiohttp

from ccl_service.platform.checks.outside import Reply, call, trouble
from ccl_service.platform.checks.verdict import FAIL, OK, PASS, WARN, Verdict

PROVIDER: Final = "Mailgun"
TAKE_KEY: Final = "take MAILGUN_API_KEY from the control panel of the account that has the domain"

UNKNOWN_DOMAIN: Final = Verdict(
    FAIL,
    "UnknownDomain",
    "the account has no such MAILGUN_DOMAIN",
    "correct it, or set MAILGUN_BASE_URL to the region of the account (https://api.eu.mailgun.net in Europe)",
)
KEY_REFUSED: Final = Verdict(FAIL, "KeyRefused", "Mailgun does not accept MAILGUN_API_KEY", TAKE_KEY)
SENDING_KEY: Final = Verdict(PASS, "SendingKey", "the key may only send, so the domain's state is not known")
STATES: Final[Mapping[object, Verdict]] = MappingProxyType(
    {
        "active": OK,
        "unverified": Verdict(
            WARN,
            "Unverified",
            "Mailgun has not verified MAILGUN_DOMAIN",
            "publish the DNS records that its control panel names, and let it verify them",
        ),
        "disabled": Verdict(
            FAIL, "Disabled", "Mailgun has disabled MAILGUN_DOMAIN", "ask Mailgun's support; no mail leaves until then"
        ),
    }
)
SENDING: Final[Mapping[int, Verdict]] = MappingProxyType(
    {400: SENDING_KEY, 401: KEY_REFUSED, 404: UNKNOWN_DOMAIN},
)


class Account:
    """What can be asked about one domain. The session belongs to the caller."""

    def __init__(self, session: aiohttp.ClientSession, *, base_url: str, domain: str, api_key: str) -> None:
        self._session = session
        self._root = base_url.rstrip("/").removesuffix("/v3")
        self._domain = domain
        self._authorization = aiohttp.encode_basic_auth("api", api_key)

    async def domain(self) -> Reply | None:
        """The domain's details."""
        return await self._call("GET", f"/v4/domains/{self._domain}")

    async def verdict(self) -> Verdict:
        """Whether the key sends for the domain."""
        reply = await self.domain()
        if reply is not None and reply.status == 200:
            return _state(reply.body)
        if reply is not None and reply.status == 404:
            return UNKNOWN_DOMAIN
        if reply is not None and reply.status in {401, 403}:
            return await self._sending()
        return trouble(PROVIDER, reply)

    async def _sending(self) -> Verdict:
        reply = await self._call("POST", f"/v3/{self._domain}/messages")
        known = SENDING.get(reply.status) if reply is not None else None
        return known or trouble(PROVIDER, reply)

    async def webhook_verdict(self, signing_key: str) -> Verdict:
        """Whether webhooks are signed with ``signing_key``. A key that may not read it proves nothing."""
        reply = await self._call("GET", "/v5/accounts/http_signing_key")
        if reply is None or reply.status == 429 or reply.status >= 500:
            return trouble(PROVIDER, reply)
        theirs = reply.body.get("http_signing_key")
        if reply.status != 200 or not isinstance(theirs, str):
            return Verdict(PASS, "NotConfirmed", "MAILGUN_API_KEY may not read the account's signing key")
        if hmac.compare_digest(theirs.encode(), signing_key.encode()):
            return OK
        return Verdict(
            FAIL,
            "KeyMismatch",
            "Mailgun signs webhooks with another key than MAILGUN_WEBHOOK_SIGNING_KEY; every event would be refused",
            "take the HTTP webhook signing key from Mailgun's control panel",
        )

    async def _call(self, method: str, path: str) -> Reply | None:
        return await call(self._session, method, self._root + path, authorization=self._authorization)


def _state(body: Mapping[str, Any]) -> Verdict:
    domain = body.get("domain")
    state = domain.get("state") if isinstance(domain, dict) else None
    return STATES.get(state) or trouble(PROVIDER, Reply(200))


def dkim_names(body: Mapping[str, Any]) -> Sequence[str]:
    """The names of the DKIM records that Mailgun wants, from the domain's details."""
    records = body.get("sending_dns_records")
    names = [r.get("name") for r in records if isinstance(r, dict)] if isinstance(records, list) else []
    return [name for name in names if isinstance(name, str) and "._domainkey." in name]
