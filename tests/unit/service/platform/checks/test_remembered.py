"""Asking outside: rarely, once at a time, and without keeping anybody waiting."""

import asyncio
from collections.abc import Iterator

import pytest

from ccl_service.platform.checks.remembered import BAD_FOR, GOOD_FOR, LATE, Remembered
from ccl_service.platform.checks.verdict import OK, WARN, Verdict

BAD = Verdict(WARN, "Bad", "it is bad", "mend it")


class World:
    """Somebody outside: answers in order, or hangs until ``release``; ``asked`` counts."""

    def __init__(self, *answers: Verdict) -> None:
        self._answers: Iterator[Verdict] = iter(answers)
        self.release = asyncio.Event()
        self.release.set()
        self.asked = 0
        self.now = 0.0

    async def ask(self) -> Verdict:
        self.asked += 1
        await self.release.wait()
        return next(self._answers)

    def remembered(self, patience: float = 30.0) -> Remembered:
        return Remembered(self.ask, clock=lambda: self.now, patience=patience)


@pytest.mark.parametrize(("first", "lasts"), [(OK, GOOD_FOR), (BAD, BAD_FOR)])
async def test_a_verdict_is_remembered_for_its_time_and_then_asked_for_again(first: Verdict, lasts: float) -> None:
    world = World(first, BAD)
    check = world.remembered()
    assert await check.verdict() == first
    world.now = lasts - 0.1
    assert (await check.verdict(), world.asked) == (first, 1)
    world.now = lasts
    assert (await check.verdict(), world.asked) == (BAD, 2)


async def test_many_who_ask_at_once_ask_outside_once() -> None:
    world = World(OK)
    check = world.remembered()
    assert await asyncio.gather(*(check.verdict() for _ in range(20))) == [OK] * 20
    assert world.asked == 1


async def test_nobody_waits_longer_than_their_patience_and_a_late_answer_still_counts() -> None:
    world = World(OK)
    world.release.clear()
    check = world.remembered(patience=0.01)
    assert await check.verdict() == LATE
    assert await check.verdict() == LATE
    world.release.set()
    await asyncio.sleep(0)
    patient = await check.verdict()
    assert (patient, world.asked) == (OK, 1)


@pytest.mark.parametrize(("late", "lasts"), [(OK, GOOD_FOR), (BAD, BAD_FOR)])
async def test_a_late_answer_is_good_for_its_time_from_when_it_came(late: Verdict, lasts: float) -> None:
    world = World(late, BAD)
    world.release.clear()
    check = world.remembered(patience=0.01)
    assert await check.verdict() == LATE
    world.now = came = 1000.0
    world.release.set()
    assert (await check.verdict(), world.asked) == (late, 1)
    world.now = came + lasts - 0.1
    assert (await check.verdict(), world.asked) == (late, 1)
    world.now = came + lasts
    assert (await check.verdict(), world.asked) == (BAD, 2)


async def test_a_late_answer_that_nobody_came_for_in_its_time_is_not_given_out() -> None:
    world = World(OK, BAD)
    world.release.clear()
    check = world.remembered(patience=0.01)
    assert await check.verdict() == LATE
    world.release.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    world.now = 86_400.0
    assert (await check.verdict(), world.asked) == (BAD, 2)


async def test_somebody_who_gives_up_does_not_stop_the_asking() -> None:
    world = World(OK)
    world.release.clear()
    check = world.remembered()
    impatient = asyncio.create_task(check.verdict())
    await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.gather(impatient, return_exceptions=True)
    world.release.set()
    assert (await check.verdict(), world.asked) == (OK, 1)


async def test_what_the_question_raises_reaches_who_asked_and_is_asked_again() -> None:
    world = World()

    async def breaks() -> Verdict:
        world.asked += 1
        raise KeyError("inside")

    check = Remembered(breaks, clock=lambda: 0.0)
    for asked in (1, 2):
        with pytest.raises(KeyError):
            await check.verdict()
        assert world.asked == asked


async def test_closing_gives_the_question_up() -> None:
    world = World(OK)
    world.release.clear()
    check = world.remembered(patience=0.01)
    await check.verdict()
    await check.close()
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []
