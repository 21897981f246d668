"""The watch of our own kind begins anew when it fails, by a clock that the test turns."""

from dataclasses import dataclass, field

import pytest

from ccl_operator.runtime.backoff import Backoff
from ccl_operator.runtime.errors import Forbidden
from ccl_operator.runtime.metrics import Metrics
from ccl_operator.runtime.owners import PATIENCE, STEADY, watch_steadily
from tests.unit.operator.runtime.clock import Clock


class Failed(Exception):
    """What kopf gives up with; ``status`` is HTTP's, when there is one."""

    def __init__(self, status: int | None = None) -> None:
        super().__init__(status)
        self.status = status


@dataclass
class Watch:
    """Runs end as ``ends`` says, one after the other: (seconds it lasted, error or None)."""

    ends: list[tuple[float, Exception | None]]
    relists: list[Exception] = field(default_factory=list)
    relisted: int = 0
    clock: Clock = field(default_factory=Clock)
    metrics: Metrics = field(default_factory=Metrics)

    async def run(self) -> None:
        lasted, error = self.ends.pop(0)
        self.clock.now += lasted
        if error is not None:
            raise error

    async def relist(self) -> None:
        self.relisted += 1
        if self.relists:
            raise self.relists.pop(0)

    async def steadily(self) -> None:
        at_once = Backoff(first=0.0, longest=0.0, random=lambda: 0.0)
        failures = self.metrics.watch_failures.labels("ccldeployments")
        await watch_steadily(self.run, self.relist, backoff=at_once, clock=self.clock, failures=failures)

    def failures(self) -> float | None:
        """As they are counted."""
        labels = {"resource": "ccldeployments"}
        return self.metrics.registry.get_sample_value("ccl_operator_watch_failures_total", labels)


async def test_a_watch_that_fails_is_counted_and_begins_anew_after_a_listing_of_everything() -> None:
    watch = Watch([(5.0, Failed()), (5.0, Failed(500)), (1.0, None)])
    await watch.steadily()
    assert (watch.ends, watch.relisted, watch.failures()) == ([], 2, 2)


async def test_a_watch_that_ends_because_it_was_stopped_does_not() -> None:
    watch = Watch([(5.0, None), (5.0, None)])
    await watch.steadily()
    assert (len(watch.ends), watch.relisted) == (1, 0)


async def test_a_missing_permission_ends_it_at_once() -> None:
    watch = Watch([(5.0, Failed(403)), (5.0, None)])
    with pytest.raises(Failed):
        await watch.steadily()
    assert watch.relisted == 0


async def test_a_permission_that_the_listing_lacks_ends_it_too() -> None:
    watch = Watch([(5.0, Failed()), (5.0, None)], relists=[Forbidden("list ccldeployments", "no")])
    with pytest.raises(Forbidden):
        await watch.steadily()


async def test_watches_that_keep_failing_end_it() -> None:
    lasting = STEADY - 1
    watch = Watch([(lasting, Failed())] * 100)
    with pytest.raises(Failed):
        await watch.steadily()
    assert PATIENCE < watch.clock.now - lasting <= PATIENCE + lasting


async def test_failures_far_apart_never_add_up() -> None:
    watch = Watch([*[(STEADY, Failed())] * 100, (1.0, None)])
    await watch.steadily()
    assert (watch.ends, watch.relisted) == ([], 100)
