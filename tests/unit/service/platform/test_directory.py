"""How long a key is remembered, and how often the database is asked."""

import asyncio
import contextlib
from typing import Any
from uuid import UUID, uuid4

import pytest

from ccl_service.platform.api_keys import directory
from ccl_service.platform.api_keys.directory import REMEMBER_SECONDS, Directory
from ccl_service.platform.api_keys.model import Secret, new_secret, prefix_of
from ccl_service.platform.db import Db
from ccl_service.platform.problems import DatabaseUnavailable
from ccl_service.platform.route import Scope

SECRET = new_secret(lambda n: bytes(range(n)))
OTHER = new_secret(lambda n: bytes(range(1, n + 1)))


class OneTable(Db):
    """Answers look-ups from memory, when told to go on; counts them."""

    def __init__(self, **keys: dict[str, Any]) -> None:
        self.keys = keys
        self.asked: list[str] = []
        self.written: list[list[UUID]] = []
        self.was_asked = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.away = False

    def connection(self) -> Any:
        raise NotImplementedError

    async def fetchrow(self, sql: str, *args: Any, timeout: float | None = None) -> Any:
        self.asked.append(args[0])
        self.was_asked.set()
        await self.go_on.wait()
        if self.away:
            raise DatabaseUnavailable
        return self.keys.get(args[0])

    async def execute(self, sql: str, *args: Any, timeout: float | None = None) -> int:
        if self.away:
            raise DatabaseUnavailable
        self.written.append(args[0])
        return len(args[0])


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def row(secret: Secret, *scopes: str) -> dict[str, Any]:
    return {"id": uuid4(), "scopes": list(scopes), "per_minute": 60, "hash": secret.digest}


def test_only_what_has_the_form_of_a_secret_is_looked_up() -> None:
    assert prefix_of(SECRET.text) == SECRET.prefix
    for text in ("", "root", SECRET.text[:-1], f"{SECRET.text}x", SECRET.text.upper(), f" {SECRET.text}", "ccl_a_b"):
        assert prefix_of(text) is None


def test_a_secret_shows_itself_in_no_log() -> None:
    assert SECRET.text not in repr(SECRET)


async def test_a_key_is_asked_for_once_while_it_is_remembered() -> None:
    db, clock = OneTable(**{SECRET.prefix: row(SECRET, "leads:read")}), Clock()
    keys = Directory(db, clock=clock)
    for _ in range(3):
        grant = await keys.grant(SECRET.prefix, SECRET.text)
        assert grant is not None
        assert grant.scopes == {Scope.LEADS_READ}
    assert len(db.asked) == 1
    clock.now += REMEMBER_SECONDS
    await keys.grant(SECRET.prefix, SECRET.text)
    assert len(db.asked) == 2


async def test_a_prefix_without_a_key_is_remembered_too() -> None:
    db = OneTable()
    keys = Directory(db, clock=Clock())
    assert [await keys.grant(SECRET.prefix, SECRET.text) for _ in range(3)] == [None] * 3
    assert len(db.asked) == 1


async def test_requests_that_come_together_share_one_question() -> None:
    db = OneTable(**{SECRET.prefix: row(SECRET)})
    keys = Directory(db, clock=Clock())
    db.go_on.clear()
    asking = [asyncio.create_task(keys.grant(SECRET.prefix, SECRET.text)) for _ in range(50)]
    await asyncio.sleep(0)
    asking[0].cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asking[0]
    db.go_on.set()
    assert all(grant is not None for grant in await asyncio.gather(*asking[1:]))
    assert len(db.asked) == 1


async def test_a_revocation_during_a_question_holds_when_the_memory_ends() -> None:
    db, clock = OneTable(**{SECRET.prefix: row(SECRET)}), Clock()
    keys = Directory(db, clock=clock)
    db.go_on.clear()
    asking = asyncio.create_task(keys.grant(SECRET.prefix, SECRET.text))
    await asyncio.wait_for(db.was_asked.wait(), 30)
    clock.now += 2  # the answer takes its time; what it says is as old as the question
    db.go_on.set()
    assert await asking is not None
    db.keys.clear()
    clock.now += REMEMBER_SECONDS - 2
    assert await keys.grant(SECRET.prefix, SECRET.text) is None


async def test_another_secret_under_a_known_prefix_opens_nothing() -> None:
    keys = Directory(OneTable(**{SECRET.prefix: row(SECRET)}), clock=Clock())
    assert await keys.grant(SECRET.prefix, OTHER.text) is None


async def test_a_database_that_is_away_is_no_answer_and_is_asked_again() -> None:
    db = OneTable(**{SECRET.prefix: row(SECRET)})
    keys = Directory(db, clock=Clock())
    db.away = True
    with pytest.raises(DatabaseUnavailable):
        await keys.grant(SECRET.prefix, SECRET.text)
    db.away = False
    assert await keys.grant(SECRET.prefix, SECRET.text) is not None


async def test_scopes_of_another_version_mean_nothing() -> None:
    db = OneTable(**{SECRET.prefix: row(SECRET, "leads:read", "moon:land")})
    grant = await Directory(db, clock=Clock()).grant(SECRET.prefix, SECRET.text)
    assert grant is not None
    assert grant.scopes == {Scope.LEADS_READ}


async def test_made_up_prefixes_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "MOST_REMEMBERED", 3)
    keys = Directory(OneTable(), clock=Clock())
    for number in range(10):
        await keys.grant(f"prefix-{number}", SECRET.text)
    assert [keys.knows(f"prefix-{n}") for n in range(10)] == [False] * 7 + [True] * 3


async def test_a_key_stays_known_and_what_is_none_does_not() -> None:
    db, clock = OneTable(**{SECRET.prefix: row(SECRET)}), Clock()
    keys = Directory(db, clock=clock)
    assert not keys.knows(SECRET.prefix)
    for secret in (SECRET, OTHER):
        await keys.grant(secret.prefix, secret.text)
    assert (keys.knows(SECRET.prefix), keys.knows(OTHER.prefix)) == (True, True)
    clock.now += REMEMBER_SECONDS
    assert (keys.knows(SECRET.prefix), keys.knows(OTHER.prefix)) == (True, False)
    db.keys.clear()  # revoked
    await keys.grant(SECRET.prefix, SECRET.text)
    clock.now += REMEMBER_SECONDS
    assert not keys.knows(SECRET.prefix)


async def test_a_key_in_use_is_not_forgotten_for_made_up_prefixes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "MOST_REMEMBERED", 3)
    clock = Clock()
    keys = Directory(OneTable(**{SECRET.prefix: row(SECRET)}), clock=clock)
    for number in range(10):
        await keys.grant(SECRET.prefix, SECRET.text)
        clock.now += REMEMBER_SECONDS
        await keys.grant(f"prefix-{number}", SECRET.text)
    assert keys.knows(SECRET.prefix)


async def test_uses_are_written_together_and_kept_while_the_database_is_away() -> None:
    db = OneTable(**{SECRET.prefix: row(SECRET), OTHER.prefix: row(OTHER)})
    keys = Directory(db, clock=Clock())
    await keys.write_used()
    assert db.written == []
    for secret in (SECRET, OTHER, SECRET):
        await keys.grant(secret.prefix, secret.text)
    db.away = True
    await keys.write_used()
    db.away = False
    await keys.write_used()
    await keys.write_used()
    assert [set(ids) for ids in db.written] == [{db.keys[s.prefix]["id"] for s in (SECRET, OTHER)}]
