"""Callers that note what they were told, and the comparison with what the database holds in the end."""

import asyncio
import contextlib
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import asyncpg

from tests.service.polling import eventually

#: How long a caller who was refused waits before the next try, and one who was served, in seconds.
PAUSE = 0.1
BREATH = 0.01
#: Statuses of a caller who did nothing wrong: served, or asked to come later.
RIGHT = {200, 201, 202, 429, 503}
CALLS = ("write", "read", "open", "say", "alive")
TURNS_OF_A_CONVERSATION = 5


class Gone(Exception):
    """The process that was called has ended, as it should."""


@dataclass(frozen=True)
class Answer:
    """``code`` of a problem, empty for none. ``status`` 0: there was no answer, and ``code`` says what there was."""

    what: str
    status: int
    code: str
    seconds: float

    @property
    def good(self) -> bool:
        return 200 <= self.status < 300


@dataclass
class Ledger:
    """Callers of one process. ``promised``: the lead of each Idempotency-Key; ``turns``: chat turns that were taken."""

    url: str
    root: dict[str, str]
    answers: list[Answer] = field(default_factory=list)
    promised: dict[str, str] = field(default_factory=dict)
    turns: list[str] = field(default_factory=list)
    _over: bool = False

    @contextlib.asynccontextmanager
    async def busy(self, *, writers: int = 4, readers: int = 2, talkers: int = 2) -> AsyncIterator[None]:
        """Calls for the length of the block. Every writer repeats a request until it is served, as its key allows."""
        async with aiohttp.ClientSession(self.url, timeout=aiohttp.ClientTimeout(total=60)) as http:
            self._over = False
            async with asyncio.TaskGroup() as group:
                callers = [self._write(http, number) for number in range(writers)]
                callers += [self._read(http) for _ in range(readers)]
                callers += [self._talk(http) for _ in range(talkers)]
                for caller in (*callers, self._look(http)):
                    group.create_task(_to_the_end(caller))
                try:
                    yield
                finally:
                    self._over = True

    async def until(self, holds: Callable[[list[Answer]], bool], *, within: float = 60) -> None:
        """Until ``holds`` of the answers from here on."""
        start = len(self.answers)

        async def held() -> bool:
            return holds(self.answers[start:])

        await eventually(held, within=within)

    async def served(self, count: int = 5, *kinds: str) -> None:
        """Until so many calls of each of these kinds, or of every kind, have been served again."""
        await self.until(lambda new: all(n >= count for n in _tally(new, kinds or CALLS, good=True)))

    async def refused(self, *kinds: str) -> None:
        """Until each of these kinds has been asked to come later."""
        await self.until(lambda new: all(_tally(new, kinds, good=False)))

    @property
    def wrong(self) -> Counter[tuple[str, int, str]]:
        """Answers that nobody should have got, with how often."""
        return Counter(
            (a.what, a.status, a.code) for a in self.answers if a.status not in RIGHT or not (a.good or a.code)
        )

    def slowest(self, *, but: str = "alive") -> float:
        """The longest that anybody waited for an answer, in seconds."""
        return max(answer.seconds for answer in self.answers if answer.what != but)

    @property
    def load(self) -> float:
        """The longest that /live took, which waits for nothing but the machine, in seconds."""
        return max(answer.seconds for answer in self.answers if answer.what == "alive")

    async def call(self, http: aiohttp.ClientSession, what: str, method: str, path: str, **more: Any) -> Any:
        """One call, noted; the document of a good answer, None of another. Raises Gone once nobody answers any more."""
        started = time.monotonic()
        status, code, document = 0, "", None
        try:
            async with http.request(method, path, **more) as answer:
                document = await answer.json(content_type=None)
                status = answer.status
                if answer.content_type == "application/problem+json":
                    code = document["code"]
        except (aiohttp.ClientError, TimeoutError) as error:
            code = type(error).__name__
        self.answers.append(Answer(what, status, code, time.monotonic() - started))
        if self._over and status == 0:
            raise Gone
        return document if 200 <= status < 300 else None

    async def _write(self, http: aiohttp.ClientSession, writer: int) -> None:
        for number in itertools.count():
            if self._over:
                return
            key = f"caller-{id(self)}-{writer}-{number}"
            self.promised[key] = await self._lead(http, key)
            await asyncio.sleep(BREATH)

    async def _lead(self, http: aiohttp.ClientSession, key: str) -> str:
        """Send one person until they are taken in; the id of the lead."""
        sent = {
            "json": {"first_name": "Ana", "email": f"{key}@example.org"},
            "headers": {**self.root, "Idempotency-Key": key},
        }
        while True:
            accepted = await self.call(http, "write", "POST", "/api/leads", **sent)
            if accepted is not None:
                return str(accepted["id"])
            await asyncio.sleep(PAUSE)

    async def _read(self, http: aiohttp.ClientSession) -> None:
        while not self._over:
            served = await self.call(http, "read", "GET", "/api/leads", headers=self.root)
            await asyncio.sleep(BREATH if served else PAUSE)

    async def _look(self, http: aiohttp.ClientSession) -> None:
        while not self._over:
            await self.call(http, "alive", "GET", "/live")
            await asyncio.sleep(PAUSE / 2)

    async def _talk(self, http: aiohttp.ClientSession) -> None:
        while not self._over:
            opened = await self.call(http, "open", "POST", "/api/chat/sessions", json={})
            if opened is None:
                await asyncio.sleep(PAUSE)
                continue
            visitor = {"Authorization": f"Bearer {opened['visitor_token']}"}
            for _ in range(TURNS_OF_A_CONVERSATION):
                taken = await self.call(http, "say", "POST", "/api/chat", json={"text": "hello"}, headers=visitor)
                if taken is not None:
                    self.turns.append(taken["turn_id"])
                await asyncio.sleep(PAUSE)

    async def keeps_its_word(self, con: "asyncpg.Connection[Any]") -> None:
        """Every lead that was promised is there once, and no caller's request made two."""
        rows = await con.fetch("SELECT id::text, email FROM leads WHERE email LIKE $1", f"caller-{id(self)}-%")
        assert max(Counter(row["email"] for row in rows).values(), default=0) <= 1
        there = {row["email"].partition("@")[0]: row["id"] for row in rows}
        assert {key: there.get(key) for key in self.promised} == self.promised
        born = await con.fetch("SELECT count(*) AS times FROM lead_events WHERE kind = 'lead.created' GROUP BY lead_id")
        assert {row["times"] for row in born} <= {1}

    async def ends_every_turn(self, con: "asyncpg.Connection[Any]") -> None:
        """Every turn that was taken ends, with one answer."""

        async def ended() -> bool:
            return bool(await con.fetchval("SELECT count(*) = 0 FROM turns WHERE state <> 'done'"))

        await eventually(ended, within=60)
        answers = await con.fetch(
            "SELECT turn.id::text, count(message) AS times FROM turns AS turn LEFT JOIN messages AS message"
            " ON (message.conversation_id, message.turn, message.speaker) = (turn.conversation_id, turn.turn, 'agent')"
            " GROUP BY turn.id"
        )
        assert {row["id"]: row["times"] for row in answers if row["id"] in self.turns} == dict.fromkeys(self.turns, 1)


async def _to_the_end(caller: Coroutine[Any, Any, None]) -> None:
    with contextlib.suppress(Gone):
        await caller


def _tally(answers: Iterable[Answer], kinds: Iterable[str], *, good: bool) -> list[int]:
    """For each kind, how many were served, or were not."""
    found = Counter(answer.what for answer in answers if answer.good is good)
    return [found[kind] for kind in kinds]
