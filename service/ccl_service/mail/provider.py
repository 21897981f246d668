"""Mailgun's messages API: one letter out, one answer back. What the answer means for the send is jobs.py's business.

Source: Mailgun API reference, "Send an email" (POST /v3/{domain}/messages).
"""

from datetime import timedelta
from typing import Final

import aiohttp

from ccl_service.mail.model import Accepted, Answer, Letter, NoAnswer, NotTaken, RefusesUs, Rejected

#: Whole request, connecting included. A send's lease is longer than this.
TIMEOUT: Final = timedelta(seconds=10)
CONNECT: Final = timedelta(seconds=5)
MOST_RETRY_AFTER: Final = timedelta(hours=1)


def open_session() -> aiohttp.ClientSession:
    """A session for ``Mailgun``; the caller closes it.

    Each request gets a connection of its own: on a kept one that the other side is just closing, a request is lost
    before it was read, which cannot be told from a message that was taken.
    """
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True))


class Mailgun:
    """A client for one sending domain. The session belongs to the caller and outlives this object."""

    def __init__(self, session: aiohttp.ClientSession, *, base_url: str, domain: str, api_key: str) -> None:
        root = base_url.rstrip("/").removesuffix("/v3")
        self._url = f"{root}/v3/{domain}/messages"
        self._session = session
        self._auth = aiohttp.encode_basic_auth("api", api_key)

    async def send(self, letter: Letter) -> Answer:
        """Hand one letter over. Never raises for what the network or the provider does; see the answer's type."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT.total_seconds(), connect=CONNECT.total_seconds())
        headers = {"Authorization": self._auth}
        try:
            async with self._session.post(
                self._url, data=_form(letter), headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                return await _read(response)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as exc:
            # No connection, so no request went out.
            return NotTaken(f"connect:{type(exc).__name__}")
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as exc:
            return NoAnswer(f"request:{type(exc).__name__}")


def _form(letter: Letter) -> aiohttp.FormData:
    form = aiohttp.FormData()
    form.add_field("from", letter.sender)
    form.add_field("to", letter.to)
    form.add_field("subject", letter.subject)
    form.add_field("text", letter.text)
    form.add_field("html", letter.html)
    form.add_field("o:tag", letter.tag)
    form.add_field("v:send_id", str(letter.send_id))
    # RFC 8058: both headers, and DKIM over them, which Mailgun signs.
    form.add_field("h:List-Unsubscribe", f"<{letter.unsubscribe}>")
    form.add_field("h:List-Unsubscribe-Post", "List-Unsubscribe=One-Click")
    return form


async def _read(response: aiohttp.ClientResponse) -> Answer:
    status = response.status
    if status == 200:
        body = await response.json(content_type=None)
        provider_id = body.get("id") if isinstance(body, dict) else None
        if isinstance(provider_id, str) and provider_id:
            return Accepted(provider_id.strip("<>"))
        return NoAnswer("response:no_id")
    if status == 429:
        return NotTaken("http:429", _retry_after(response))
    if status in {401, 402, 403, 404} or 300 <= status < 400:
        # The account, the domain or the address of the API is wrong, not this letter.
        return RefusesUs(f"http:{status}")
    if status >= 500:
        # It may have been taken before the error; asking again could write twice.
        return NoAnswer(f"http:{status}")
    return Rejected(f"http:{status}")


def _retry_after(response: aiohttp.ClientResponse) -> timedelta | None:
    text = response.headers.get("Retry-After", "")
    return min(timedelta(seconds=int(text)), MOST_RETRY_AFTER) if text.isascii() and text.isdigit() else None
