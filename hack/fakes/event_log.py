"""Mailgun's event log: what happened to mails, listed by time, in pages.

Source: Mailgun user manual, "Events" (GET /v3/{domain}/events): ``begin``, ``end``, ``ascending``, ``limit`` (at most
300), ``event`` with OR; the next page's URL is always there, and an empty page is the end. A late event shows up in
pages that were read before it came.
"""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any

from aiohttp import web

MOST_PER_PAGE = 300
DEFAULT_PER_PAGE = 100


@dataclass
class Entry:
    """One event. It is listed from ``visible_at`` on (epoch seconds)."""

    domain: str
    visible_at: float
    event: dict[str, Any]


@dataclass
class EventLog:
    """What happened, in the order in which it was noted. ``now`` in epoch seconds."""

    now: Callable[[], float]
    entries: list[Entry] = field(default_factory=list)
    #: Pages given out.
    pages: int = 0

    def add(self, domain: str, event: dict[str, Any], *, late: float = 0.0) -> None:
        """Note an event; it is listed ``late`` seconds after now."""
        self.entries.append(Entry(domain, self.now() + late, dict(event)))

    def shift(self, seconds: float) -> None:
        """Let everything have happened that much earlier: what waiting would do."""
        for entry in self.entries:
            entry.visible_at -= seconds
            entry.event["timestamp"] -= seconds

    def first(self, request: web.Request) -> web.Response:
        """Answer the request that begins a listing; 400 for a stretch of time that cannot be read."""
        query = request.query
        try:
            begin = _moment(query["begin"]) if "begin" in query else None
            end = _moment(query["end"]) if "end" in query else None
            limit = int(query.get("limit", DEFAULT_PER_PAGE))
        except (ValueError, TypeError):
            return web.json_response({"message": "Wrong range or limit"}, status=400)
        if not 1 <= limit <= MOST_PER_PAGE:
            return web.json_response({"message": f"The maximum limit is {MOST_PER_PAGE}"}, status=400)
        if begin is not None and end is None and "ascending" not in query:
            return web.json_response({"message": "end or ascending is missing"}, status=400)
        ascending = query["ascending"] == "yes" if "ascending" in query else (begin or 0) <= (end or 0)
        low, high = (begin, end) if ascending else (end, begin)
        cursor = {
            "low": low if low is not None else 0.0,
            "high": high if high is not None else self.now(),
            "ascending": ascending,
            "limit": limit,
            "kinds": [kind.strip() for kind in query.get("event", "").split(" OR ") if kind.strip()],
            "seen": None,
        }
        return self._page(request, cursor)

    def following(self, request: web.Request) -> web.Response:
        """Answer the URL of a page that ``paging`` named; 400 for one that it did not."""
        try:
            cursor = json.loads(base64.urlsafe_b64decode(request.match_info["page"]))
        except ValueError:
            return web.json_response({"message": "Wrong page"}, status=400)
        return self._page(request, cursor)

    def _page(self, request: web.Request, cursor: dict[str, Any]) -> web.Response:
        self.pages += 1
        domain, sign = request.match_info["domain"], 1 if cursor["ascending"] else -1

        def place(event: Mapping[str, Any]) -> tuple[float, str]:
            return sign * event["timestamp"], event["id"]

        listed = sorted((e.event for e in self.entries if e.domain == domain and e.visible_at <= self.now()), key=place)
        after = tuple(cursor["seen"]) if cursor["seen"] else None
        items = [
            event
            for event in listed
            if cursor["low"] <= event["timestamp"] <= cursor["high"]
            and (not cursor["kinds"] or event["event"] in cursor["kinds"])
            and (after is None or place(event) > after)
        ][: cursor["limit"]]
        seen = place(items[-1]) if items else cursor["seen"]
        root = f"{request.scheme}://{request.host}/v3/{domain}/events/"
        links = {name: root + _token(cursor | {"seen": at}) for name, at in (("next", seen), ("first", None))}
        return web.json_response({"items": items, "paging": links})


def _token(cursor: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(cursor).encode()).decode()


def _moment(text: str) -> float:
    """Epoch seconds, or an RFC 2822 date."""
    try:
        return float(text)
    except ValueError:
        return parsedate_to_datetime(text).timestamp()
