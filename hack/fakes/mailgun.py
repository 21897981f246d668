"""A Mailgun account in memory: the messages API, signed event webhooks, an outbox to read, and faults.

Source: Mailgun documentation, "Messages" (POST /v3/{domain}/messages, HTTP basic auth with user ``api``).
Fault kinds: ``status`` (refuse with that status), ``timeout`` (never answer, nothing accepted), ``accept_then_timeout``
and ``accept_then_status`` (the mail goes out, the caller is not told), ``bounce`` (the next mail fails permanently),
``webhook_duplicate``, ``webhook_delay``, ``webhook_drop``, ``drop_kept`` (a message on a connection used before meets
its end, as when a server closes an idle one), ``log_late`` (the next mail's events are listed ``seconds`` later),
``log_status`` (the event log refuses with that status), ``account_status`` (as ``status``, on the account API).
Absent: batch sending with recipient variables, stored templates, attachments.
"""

import contextlib
import secrets
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import getaddresses
from typing import Any

import aiohttp
from aiohttp import web
from multidict import MultiDictProxy

from hack.fakes.event_log import EventLog
from hack.fakes.faults import Fault, Faults
from hack.fakes.outbox import Mail, outbox_routes
from hack.fakes.server import application, serving
from hack.fakes.webhooks import Attempt, WebhookSender

KINDS = frozenset(
    {
        "status",
        "timeout",
        "accept_then_timeout",
        "accept_then_status",
        "bounce",
        "webhook_duplicate",
        "webhook_delay",
        "webhook_drop",
        "account_status",
        "drop_kept",
        "log_late",
        "log_status",
    }
)
#: Mailgun waits 10, 10, 15, 30 minutes and then hours; a development stack cannot wait for that.
RETRY_DELAYS: tuple[float, ...] = (0.5, 1, 2, 5, 10, 30)
BODIES = ("text", "html", "amp-html", "template")


@dataclass
class FakeMailgun:
    """The account. ``mails`` oldest first; ``webhooks.target`` may be set after the start; ``url`` is the base URL."""

    api_key: str
    faults: Faults
    webhooks: WebhookSender
    now: Callable[[], float]
    events: Sequence[str] = ("delivered",)
    mails: list[Mail] = field(default_factory=list)
    #: Requests to the messages API, refused ones included.
    requests: int = 0
    url: str = ""
    #: Where the latest messages came from, host and port, to tell a kept connection from a new one.
    callers: deque[Any] = field(default_factory=lambda: deque(maxlen=1000))
    #: Domain → its state at the provider; None: every domain is ours and active.
    domains: Mapping[str, str] | None = None
    #: The key is a domain sending key: it may send and nothing else.
    sending_only: bool = False

    def __post_init__(self) -> None:
        self.log = EventLog(self.now)

    @property
    def attempts(self) -> list[Attempt]:
        """Webhook deliveries tried so far, oldest first."""
        return self.webhooks.attempts

    def fault(self, kind: str, **options: Any) -> None:
        """Queue a fault; the options are those of ``faults.Fault``."""
        self.faults.add(Fault(kind=kind, **options))

    def send_event(self, mail: Mail, event: str, **extra: Any) -> str:
        """Note an event of ``mail`` (delivered, failed, complained, opened, clicked, unsubscribed …) and deliver it
        to the webhook target in the background; the event's id. ``failed`` is permanent unless ``severity`` says else.
        """
        data = self.note_event(mail, event, **extra)
        self.webhooks.send(data)
        return str(data["id"])

    def note_event(self, mail: Mail, event: str, *, late: float = 0.0, **extra: Any) -> dict[str, Any]:
        """Note an event in the log only, listed ``late`` seconds after now; the event."""
        data = {
            "event": event,
            "id": secrets.token_urlsafe(16),
            "timestamp": self.now(),
            "log-level": "error" if event == "failed" else "info",
            "recipient": mail.to,
            "recipient-domain": mail.to.rpartition("@")[2],
            "message": {
                "headers": {"message-id": mail.id, "to": mail.to, "from": mail.sender, "subject": mail.subject},
                "attachments": [],
                "size": len(mail.text) + len(mail.html),
            },
            "tags": list(mail.tags),
            "user-variables": dict(mail.variables),
        }
        if event == "failed":
            data |= {"severity": "permanent", "reason": "bounce", "delivery-status": {"code": 550, "message": ""}}
        data |= extra
        self.log.add(mail.domain, data, late=late)
        return data


def build_app(fake: FakeMailgun) -> web.Application:
    """The application around one account."""

    async def post_message(request: web.Request) -> web.StreamResponse:
        return await _post_message(fake, request)

    async def get_domain(request: web.Request) -> web.Response:
        return _account_refusal(fake, request) or _domain(fake, request.match_info["domain"])

    async def get_signing_key(request: web.Request) -> web.Response:
        document = {"message": "success", "http_signing_key": fake.webhooks.signing_key}
        return _account_refusal(fake, request) or web.json_response(document)

    async def get_events(request: web.Request) -> web.Response:
        return _log_refusal(fake, request) or fake.log.first(request)

    async def get_more_events(request: web.Request) -> web.Response:
        return _log_refusal(fake, request) or fake.log.following(request)

    routes = (
        web.post("/v3/{domain}/messages", post_message),
        web.get("/v3/{domain}/events", get_events),
        web.get("/v3/{domain}/events/{page}", get_more_events),
        web.get("/v4/domains/{domain}", get_domain),
        web.get("/v5/accounts/http_signing_key", get_signing_key),
        *outbox_routes(fake.mails),
    )
    return application(fake.faults, routes, body_bytes=25 * 2**20)


@contextlib.asynccontextmanager
async def start_mailgun(
    *,
    api_key: str,
    signing_key: str,
    webhook_url: str | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    events: Sequence[str] = ("delivered",),
    retry_delays: Sequence[float] = RETRY_DELAYS,
    now: Callable[[], float] = time.time,
) -> AsyncIterator[FakeMailgun]:
    """Run the fake until the block ends. ``events`` are sent for each accepted mail; ``now`` in epoch seconds."""
    faults = Faults(KINDS)
    sender = WebhookSender(signing_key, webhook_url, faults, now, retry_delays)
    fake = FakeMailgun(api_key, faults, sender, now, events)
    async with serving(build_app(fake), host=host, port=port) as url:
        fake.url = url
        try:
            yield fake
        finally:
            faults.closing.set()
            await sender.close()


async def _post_message(fake: FakeMailgun, request: web.Request) -> web.StreamResponse:
    fake.requests += 1
    if _dropped(fake, request):
        return web.Response(status=503)
    if not _authorised(request, fake.api_key):
        return web.Response(status=401, text="Forbidden")
    if fault := fake.faults.take("status", "timeout"):
        if fault.kind == "timeout":
            await fake.faults.wait(fault.seconds)
        return _refusal(fault)
    form = await request.post()
    if problem := _missing(form):
        return web.json_response({"message": problem}, status=400)
    message_id = f"{uuid.uuid4()}@{request.match_info['domain']}"
    _accept(fake, form, message_id, request.match_info["domain"])
    if fault := fake.faults.take("accept_then_timeout", "accept_then_status"):
        if fault.kind == "accept_then_timeout":
            await fake.faults.wait(fault.seconds)
        return _refusal(fault)
    return web.json_response({"id": f"<{message_id}>", "message": "Queued. Thank you."})


def _dropped(fake: FakeMailgun, request: web.Request) -> bool:
    """Whether the fault ``drop_kept`` struck: the connection is gone, and nobody has read the message."""
    if request.transport is None:
        return True
    peer = request.transport.get_extra_info("peername")
    kept = peer in fake.callers
    fake.callers.append(peer)
    if not kept or fake.faults.take("drop_kept") is None:
        return False
    request.transport.abort()
    return True


def _log_refusal(fake: FakeMailgun, request: web.Request) -> web.Response | None:
    if not _authorised(request, fake.api_key) or fake.sending_only:
        return web.Response(status=401, text="Forbidden")
    fault = fake.faults.take("log_status")
    return _refusal(fault) if fault else None


def _account_refusal(fake: FakeMailgun, request: web.Request) -> web.Response | None:
    if not _authorised(request, fake.api_key) or fake.sending_only:
        return web.Response(status=401, text="Forbidden")
    fault = fake.faults.take("account_status")
    return _refusal(fault) if fault else None


def _domain(fake: FakeMailgun, name: str) -> web.Response:
    state = "active" if fake.domains is None else fake.domains.get(name)
    if state is None:
        return web.json_response({"message": "Domain not found"}, status=404)
    valid = "valid" if state == "active" else "unknown"
    records = [
        {"record_type": "TXT", "name": name, "value": "v=spf1 include:mailgun.org ~all", "valid": valid},
        {"record_type": "TXT", "name": f"pic._domainkey.{name}", "value": "k=rsa; p=MIGf", "valid": valid},
    ]
    document = {"domain": {"name": name, "state": state, "type": "custom"}, "receiving_dns_records": []}
    return web.json_response(document | {"sending_dns_records": records})


def _authorised(request: web.Request, api_key: str) -> bool:
    wanted = aiohttp.encode_basic_auth("api", api_key)
    return secrets.compare_digest(request.headers.get("Authorization", "").encode(), wanted.encode())


def _refusal(fault: Fault) -> web.Response:
    headers = {"Retry-After": str(fault.retry_after)} if fault.retry_after is not None else {}
    message = "Too many requests" if fault.status == 429 else "Internal Server Error"
    return web.json_response({"message": message}, status=fault.status, headers=headers)


def _missing(form: Mapping[str, Any]) -> str | None:
    for name in ("from", "to"):
        if not form.get(name):
            return f"{name} parameter is missing"
    if not any(address for _, address in getaddresses([str(form["to"])])):
        return "'to' parameter is not a valid address. please check documentation"
    if not any(form.get(name) for name in BODIES):
        return "Need at least one of 'text', 'html', 'amp-html' or 'template' parameters specified"
    return None


def _accept(fake: FakeMailgun, form: MultiDictProxy[Any], message_id: str, domain: str) -> None:
    def prefixed(prefix: str) -> dict[str, str]:
        return {key.removeprefix(prefix): str(value) for key, value in form.items() if key.startswith(prefix)}

    bounce, late = fake.faults.take("bounce"), fake.faults.take("log_late")
    for _, address in getaddresses([str(to) for to in form.getall("to")]):
        mail = Mail(
            id=message_id,
            received_at=datetime.fromtimestamp(fake.now(), UTC).isoformat(timespec="milliseconds"),
            domain=domain,
            sender=str(form["from"]),
            to=address,
            subject=str(form.get("subject", "")),
            text=str(form.get("text", "")),
            html=str(form.get("html", "")),
            headers=prefixed("h:"),
            variables=prefixed("v:"),
            tags=tuple(str(tag) for tag in form.getall("o:tag", [])),
        )
        fake.mails.append(mail)
        if "accepted" not in fake.events:
            fake.note_event(mail, "accepted", late=late.seconds if late else 0.0)
        for event in ("failed",) if bounce else fake.events:
            fake.send_event(mail, event, late=late.seconds if late else 0.0)
