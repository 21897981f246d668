"""Who is looked at next."""

import asyncio
from dataclasses import dataclass

import pytest

from ccl_operator.actions import Key
from ccl_operator.runtime.queue import WorkQueue

A, B, C = (Key("n", name) for name in "abc")


@dataclass
class Clock:
    """A monotonic clock that tests move."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """At zero."""
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> WorkQueue:
    """Empty."""
    return WorkQueue(clock)


async def next_key(queue: WorkQueue) -> Key | None:
    """The next key; fails when there is none to be had now."""
    async with asyncio.timeout(1):
        return await queue.get()


async def nothing_waits(queue: WorkQueue) -> bool:
    """Whether ``get`` would wait."""
    waiting = asyncio.ensure_future(queue.get())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    done = waiting.done()
    waiting.cancel()
    return not done


async def test_repeated_wishes_are_one(queue: WorkQueue) -> None:
    queue.add(A)
    queue.add(A)
    assert await next_key(queue) == A
    queue.done(A)
    assert await nothing_waits(queue)


async def test_keys_come_in_the_order_of_the_first_wish(queue: WorkQueue) -> None:
    for key in (B, A, B, C):
        queue.add(key)
    assert [await next_key(queue) for _ in range(3)] == [B, A, C]


async def test_urgent_keys_go_first_even_when_they_waited_already(queue: WorkQueue) -> None:
    queue.add(A)
    queue.add(B)
    queue.add(B, urgent=True)
    assert [await next_key(queue), await next_key(queue)] == [B, A]
    assert await nothing_waits(queue)


async def test_a_key_is_never_given_to_two_workers(queue: WorkQueue) -> None:
    queue.add(A)
    assert await next_key(queue) == A
    queue.add(A)
    assert await nothing_waits(queue)
    queue.done(A)
    assert await next_key(queue) == A


async def test_a_scheduled_key_comes_at_its_time(queue: WorkQueue, clock: Clock) -> None:
    queue.schedule(A, 10.0)
    assert await nothing_waits(queue)
    clock.now = 10.0
    assert await next_key(queue) == A


async def test_a_later_word_replaces_the_earlier_time(queue: WorkQueue, clock: Clock) -> None:
    queue.schedule(A, 10.0)
    queue.schedule(A, 20.0)
    clock.now = 15.0
    assert await nothing_waits(queue)
    queue.schedule(A, None)
    clock.now = 25.0
    assert await nothing_waits(queue)


async def test_a_waiting_worker_wakes_for_a_new_key(queue: WorkQueue) -> None:
    waiting = asyncio.ensure_future(queue.get())
    await asyncio.sleep(0)
    queue.add(A)
    assert await asyncio.wait_for(waiting, 1) == A


async def test_a_closed_queue_ends_every_waiting_worker_and_gives_nothing_out(queue: WorkQueue) -> None:
    waiting = [asyncio.ensure_future(queue.get()) for _ in range(3)]
    await asyncio.sleep(0)
    queue.close()
    assert await asyncio.wait_for(asyncio.gather(*waiting), 1) == [None, None, None]
    queue.add(A)
    assert await next_key(queue) is None
