"""The mails that the fake Mailgun received, and the pages a person reads them on."""

import html
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from aiohttp import web

STYLE = """body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#222}
h1{font-size:1.3rem}article{border:1px solid #ddd;border-radius:6px;padding:1rem;margin:1rem 0}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem 1rem;margin:0}
dt{color:#777}dd{margin:0;min-width:0;overflow-wrap:anywhere}
pre{white-space:pre-wrap;background:#f7f7f7;padding:1rem;border-radius:4px}
iframe{width:100%;height:34rem;border:1px solid #ddd}"""


@dataclass(frozen=True)
class Mail:
    """One recipient's mail as Mailgun accepted it. ``id`` has no angle brackets; ``received_at`` is RFC 3339."""

    id: str
    received_at: str
    domain: str
    sender: str
    to: str
    subject: str
    text: str
    html: str
    headers: Mapping[str, str]
    variables: Mapping[str, str]
    tags: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """As JSON; the key for the sender is ``from``."""
        shown = asdict(self) | {"from": self.sender, "tags": list(self.tags)}
        del shown["sender"]
        return shown


def outbox_routes(mails: list[Mail]) -> list[web.RouteDef]:
    """Where the mails are read, as pages and as JSON, and forgotten."""

    async def outbox(request: web.Request) -> web.Response:
        if request.path.endswith(".json") or "application/json" in request.headers.get("Accept", ""):
            return web.json_response([mail.document() for mail in mails])
        return web.Response(text=list_page(mails), content_type="text/html")

    async def one_mail(request: web.Request) -> web.Response:
        for mail in mails:
            if mail.id == request.match_info["id"]:
                return web.Response(text=mail_page(mail), content_type="text/html")
        raise web.HTTPNotFound

    async def forget(_: web.Request) -> web.Response:
        mails.clear()
        return web.Response(status=204)

    async def home(_: web.Request) -> web.Response:
        raise web.HTTPFound("/outbox")

    return [
        web.get("/outbox", outbox),
        web.get("/outbox.json", outbox),
        web.get("/outbox/{id}", one_mail),
        web.delete("/outbox", forget),
        web.get("/", home),
    ]


def list_page(mails: list[Mail]) -> str:
    """All mails, newest first."""
    items = "".join(
        f'<article>{_head(mail)}<p><a href="/outbox/{html.escape(mail.id)}">read</a></p></article>'
        for mail in reversed(mails)
    )
    return _page("Outbox", f"<h1>Outbox: {len(mails)} mail(s)</h1>{items or '<p>Nothing was sent yet.</p>'}")


def mail_page(mail: Mail) -> str:
    """One mail: its headers, the text part, and the HTML part in a frame that runs no script."""
    frame = f'<iframe sandbox srcdoc="{html.escape(mail.html)}"></iframe>' if mail.html else "<p>No HTML part.</p>"
    body = f'<p><a href="/outbox">all mails</a></p>{_head(mail)}<pre>{html.escape(mail.text)}</pre>{frame}'
    return _page(mail.subject, body)


def _head(mail: Mail) -> str:
    rows = {
        "To": mail.to,
        "From": mail.sender,
        "Subject": mail.subject,
        "Received": mail.received_at,
        **mail.headers,
    }
    cells = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>" for name, value in rows.items())
    return f"<dl>{cells}</dl>"


def _page(title: str, body: str) -> str:
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{STYLE}</style><body>{body}</body></html>"
    )
