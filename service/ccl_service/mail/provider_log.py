"""Mailgun's event log: what happened to our mails in a stretch of time.

Source: Mailgun user manual, "Events" (GET /v3/{domain}/events): pages of at most 300 in the order of their timestamps;
``paging.next`` is always there, and only an empty page is the end. The log cannot be asked for a custom variable, so
whoever looks for a send reads the whole stretch.
"""

import json
from collections.abc import AsyncGenerator
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import aiohttp
from yarl import URL

from ccl_service.mail.webhook import ProviderEvent, event_in
from ccl_service.platform.problems import TryLater

PAGE_EVENTS: Final = 300
#: More than this and the stretch is given up: some hundred thousand events.
MOST_PAGES: Final = 1000
PAGE_TIMEOUT: Final = timedelta(seconds=20)
#: Events that prove that a message was taken, or refused; each message has one of them at least.
KINDS: Final = "accepted OR rejected OR delivered OR failed"


class LogUnavailable(TryLater):
    """The provider's log did not answer, or not in the documented form."""


class MailgunLog:
    """The log of one sending domain. The session belongs to the caller and outlives this object."""

    def __init__(self, session: aiohttp.ClientSession, *, base_url: str, domain: str, api_key: str) -> None:
        parts = urlsplit(base_url)
        self._origin = f"{parts.scheme}://{parts.netloc}"
        self._begin = URL(f"{base_url.rstrip('/').removesuffix('/v3')}/v3/{domain}/events")
        self._session = session
        self._auth = aiohttp.encode_basic_auth("api", api_key)

    async def events(self, begin: datetime, end: datetime) -> AsyncGenerator[ProviderEvent]:
        """Every event from ``begin`` to ``end`` that carries a send id of ours, oldest first.

        Raises LogUnavailable, also in the middle; what came before is true all the same.
        """
        query = {
            "begin": f"{begin.timestamp():.3f}",
            "end": f"{end.timestamp():.3f}",
            "limit": str(PAGE_EVENTS),
            "event": KINDS,
        }
        page = await self._page(self._begin.with_query(query))
        for _ in range(MOST_PAGES):
            items = page["items"]
            if not items:
                return
            for item in items:
                event = event_in(item)
                if event is not None:
                    yield event
            page = await self._page(self._next(page))
        raise LogUnavailable("the stretch of time holds too many events")

    def _next(self, page: dict[str, Any]) -> URL:
        paging = page.get("paging")
        url = paging.get("next") if isinstance(paging, dict) else None
        if not isinstance(url, str):
            raise LogUnavailable("a page names no next one")
        # The host that the settings name, whatever stands there: our key goes nowhere else.
        parts = urlsplit(url)
        return URL(self._origin + urlunsplit(("", "", parts.path, parts.query, "")), encoded=True)

    async def _page(self, url: URL) -> dict[str, Any]:
        timeout = aiohttp.ClientTimeout(total=PAGE_TIMEOUT.total_seconds())
        try:
            async with self._session.get(
                url,
                headers={"Authorization": self._auth},
                timeout=timeout,
                allow_redirects=False,
            ) as response:
                if response.status != 200:
                    raise LogUnavailable(f"the log answers {response.status}")
                page = json.loads(await response.read())
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as exc:
            raise LogUnavailable(f"the log does not answer ({type(exc).__name__})") from exc
        if not isinstance(page, dict) or not isinstance(page.get("items"), list):
            raise LogUnavailable("the log answers in another form")
        return page
