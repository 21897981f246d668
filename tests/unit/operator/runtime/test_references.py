"""How often referenced Secrets are read, by a clock that the test turns, and which of two answers counts."""

import asyncio
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from ccl_operator.actions import Key, Resource
from ccl_operator.runtime.cache import Cache
from ccl_operator.runtime.client import Client
from ccl_operator.runtime.errors import NotFound
from ccl_operator.runtime.references import READ_EVERY, READ_MISSING_EVERY, References

KEY = Key("loans", "ccl")
OWNER: dict[str, Any] = {
    "metadata": {"namespace": "loans", "name": "ccl", "uid": "1", "generation": 1, "resourceVersion": "1"},
    "spec": {"secrets": {"openai": {"secretRef": "openai"}}},
}


@dataclass
class Reads:
    """Secrets of a cluster, every read of one, and the time in seconds."""

    secrets: dict[str, dict[str, Any]] = field(default_factory=dict)
    read: list[str] = field(default_factory=list)
    now: float = 1000.0

    async def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        self.read.append(name)
        if name not in self.secrets:
            raise NotFound(f"get {resource.plural}/{name}", "not found")
        return self.secrets[name]


@pytest.fixture
def reads() -> Reads:
    return Reads({"openai": {"data": {"OPENAI_API_KEY": "c2s="}}})


@pytest.fixture
def cache() -> Cache:
    return Cache()


@pytest.fixture
def references(reads: Reads, cache: Cache) -> References:
    return References(cast(Client, reads), cache, lambda: reads.now)


async def test_a_secret_that_is_there_is_read_again_after_five_minutes_and_not_before(
    reads: Reads, references: References
) -> None:
    await references.refresh(KEY, OWNER)
    assert references.due_at(KEY, OWNER) == 1000.0 + READ_EVERY == 1300.0
    reads.now = 1299.9
    await references.refresh(KEY, OWNER)
    assert reads.read == ["openai"]
    reads.now = 1300.0
    await references.refresh(KEY, OWNER)
    assert reads.read == ["openai", "openai"]


async def test_a_secret_that_is_missing_is_looked_for_every_fifteen_seconds_and_then_taken(
    reads: Reads, cache: Cache, references: References
) -> None:
    made = reads.secrets.pop("openai")
    await references.refresh(KEY, OWNER)
    assert references.due_at(KEY, OWNER) == 1000.0 + READ_MISSING_EVERY == 1015.0
    assert cache.referenced("loans", ["openai"]) == {"openai": None}
    reads.secrets["openai"], reads.now = made, 1015.0
    await references.refresh(KEY, OWNER)
    assert cache.referenced("loans", ["openai"]) == {"openai": made}
    assert references.due_at(KEY, OWNER) == 1015.0 + READ_EVERY


async def test_a_change_of_the_specification_has_its_secrets_read_at_once(reads: Reads, references: References) -> None:
    await references.refresh(KEY, OWNER)
    await references.refresh(KEY, OWNER | {"metadata": OWNER["metadata"] | {"generation": 2}})
    assert reads.read == ["openai", "openai"]


async def test_a_secret_that_a_watch_saw_change_is_due_and_wakes_who_names_it(
    reads: Reads, cache: Cache, references: References
) -> None:
    cache.put_owner(OWNER)
    await references.refresh(KEY, OWNER)
    assert references.expire("loans", "another") == ()
    assert references.expire("elsewhere", "openai") == ()
    assert references.expire("loans", "openai") == (KEY,)
    assert references.due_at(KEY, OWNER) == reads.now


def test_an_object_that_names_no_secret_never_waits_for_one(references: References) -> None:
    assert references.due_at(KEY, OWNER | {"spec": {}}) is None


async def test_what_nobody_names_any_more_is_forgotten(reads: Reads, cache: Cache, references: References) -> None:
    cache.put_owner(OWNER)
    await references.refresh(KEY, OWNER)
    cache.put_owner(OWNER | {"spec": {}, "metadata": OWNER["metadata"] | {"resourceVersion": "2"}})
    references.forget_unused()
    assert cache.referenced("loans", ["openai"]) == {}
    await references.refresh(KEY, OWNER)
    assert reads.read == ["openai", "openai"]


@dataclass
class Slow(Reads):
    """Answers, with what was there when it was asked, when the test says so."""

    asked: asyncio.Queue[asyncio.Event] = field(default_factory=asyncio.Queue)

    async def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        found = await super().get(resource, namespace, name)
        self.asked.put_nowait(go := asyncio.Event())
        await go.wait()
        return found


OLD, NEW = {"data": {"OPENAI_API_KEY": "b2xk"}}, {"data": {"OPENAI_API_KEY": "bmV3"}}
SHARING = OWNER | {"metadata": OWNER["metadata"] | {"name": "sharing", "uid": "2"}}
SHARING_KEY = Key("loans", "sharing")


async def test_a_change_that_a_watch_sees_while_the_older_answer_is_awaited_is_not_missed(cache: Cache) -> None:
    reads = Slow({"openai": OLD})
    references = References(cast(Client, reads), cache, lambda: reads.now)
    async with asyncio.timeout(30), asyncio.TaskGroup() as passes:
        passes.create_task(references.refresh(KEY, OWNER))
        go = await reads.asked.get()
        reads.secrets["openai"] = NEW
        assert references.expire("loans", "openai") == (KEY,)
        go.set()
    assert references.due_at(KEY, OWNER) == reads.now
    async with asyncio.timeout(30), asyncio.TaskGroup() as passes:
        passes.create_task(references.refresh(KEY, OWNER))
        (await reads.asked.get()).set()
    assert cache.referenced("loans", ["openai"]) == {"openai": NEW}
    assert references.due_at(KEY, OWNER) == reads.now + READ_EVERY


async def test_of_two_that_read_a_shared_secret_the_older_answer_never_comes_last(cache: Cache) -> None:
    reads = Slow({"openai": OLD})
    references = References(cast(Client, reads), cache, lambda: reads.now)
    async with asyncio.timeout(30), asyncio.TaskGroup() as passes:
        passes.create_task(references.refresh(SHARING_KEY, SHARING))
        (await reads.asked.get()).set()
    changed = SHARING | {"metadata": SHARING["metadata"] | {"generation": 2}}
    async with asyncio.timeout(30), asyncio.TaskGroup() as passes:
        references.expire("loans", "openai")
        passes.create_task(references.refresh(KEY, OWNER))
        older = await reads.asked.get()
        reads.secrets["openai"] = NEW
        passes.create_task(references.refresh(SHARING_KEY, changed))
        for _ in range(10):
            await asyncio.sleep(0)
        assert reads.asked.empty(), "the newer question waits for the older answer"
        older.set()
        (await reads.asked.get()).set()
    assert cache.referenced("loans", ["openai"]) == {"openai": NEW}


async def test_who_waited_for_another_to_read_a_shared_secret_does_not_read_it_again(cache: Cache) -> None:
    reads = Slow({"openai": OLD})
    references = References(cast(Client, reads), cache, lambda: reads.now)
    async with asyncio.timeout(30), asyncio.TaskGroup() as passes:
        for key, owner in ((KEY, OWNER), (SHARING_KEY, SHARING)):
            passes.create_task(references.refresh(key, owner))
        (await reads.asked.get()).set()
    assert reads.read == ["openai"]
