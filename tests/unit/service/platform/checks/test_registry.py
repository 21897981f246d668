"""The checks of a process: their order, their ids, what they cost."""

import asyncio

import pytest

from ccl_contract.readiness import Check, CheckStatus
from ccl_service.platform.checks.verdict import OK, WARN, Verdict
from ccl_service.platform.readiness import LATEST_SECONDS, CheckRegistry


class Asked:
    """A check that counts how often it is asked."""

    def __init__(self) -> None:
        self.times = 0

    async def verdict(self) -> Verdict:
        self.times += 1
        await asyncio.sleep(0)
        return OK


async def test_checks_are_reported_in_the_order_in_which_they_were_registered() -> None:
    registry = CheckRegistry()
    registry.judge("Second", lambda: OK)
    registry.judge("First", lambda: Verdict(WARN, "Odd", "it is odd", "look"))
    assert registry.ids == ("Second", "First")
    assert [(c.id, c.status.value, c.reason, c.message, c.action) for c in await registry.run()] == [
        ("Second", "pass", "", "", ""),
        ("First", "warn", "Odd", "it is odd", "look"),
    ]


async def test_a_check_that_breaks_is_reported_as_failed_without_its_inside() -> None:
    async def breaks() -> Check:
        raise KeyError("secret inside")

    registry = CheckRegistry()
    registry.register("Broken", breaks)
    (found,) = await registry.run()
    assert (found.status, found.reason) == (CheckStatus.FAIL, "CheckBroken")
    assert "secret" not in found.message


@pytest.mark.parametrize("check_id", ["lower", "With-Dash", "Twice"])
def test_an_id_that_is_no_condition_reason_or_is_taken_is_refused(check_id: str) -> None:
    registry = CheckRegistry()
    registry.judge("Twice", lambda: OK)
    with pytest.raises(ValueError, match=check_id):
        registry.judge(check_id, lambda: OK)


async def test_many_strangers_cost_no_more_than_one_and_whoever_has_a_key_gets_a_fresh_answer() -> None:
    now, asked = 100.0, Asked()
    registry = CheckRegistry(clock=lambda: now)
    registry.ask("Asked", asked.verdict)
    await asyncio.gather(*(registry.latest() for _ in range(50)))
    assert asked.times == 1
    await registry.run()
    assert asked.times == 2
    now += LATEST_SECONDS - 0.1
    await registry.latest()
    assert asked.times == 2
    now += 0.1
    await registry.latest()
    assert asked.times == 3
