"""The outside providers as this process knows them: each call measured, and held back while calls keep failing.

What a call says and what its answer means belongs to the feature; it reports one ``Verdict`` for each call.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final

from ccl_service.platform.breaker import Breaker, State
from ccl_service.platform.telemetry import Metrics
from ccl_service.platform.telemetry.tracing import Tracer


class Verdict(StrEnum):
    """What a call tells about the provider."""

    #: It answered as it should, a refusal of the request included.
    WORKS = "works"
    #: It did not answer, or with an error of its own.
    FAILS = "fails"
    #: Nothing is learnt: the call was given up here, or there were too many.
    NOTHING = "nothing"


@dataclass(slots=True)
class Dependency:
    """One provider. ``clock`` in seconds, monotonic."""

    name: str
    metrics: Metrics
    clock: Callable[[], float]
    tracer: Tracer | None = None
    breaker: Breaker = field(default_factory=Breaker)
    last: tuple[float, float, str] | None = None

    def resting(self) -> timedelta | None:
        """How long to hold calls back; None when they may go out."""
        return self.breaker.remaining(self.clock())

    def begin(self) -> "Call":
        """A call goes out now. Finish it."""
        now = self.clock()
        self.breaker.begin(now)
        return Call(self, now)

    @property
    def open(self) -> bool:
        """Whether the provider counts as down: calls are held back, or only one of them goes out as a test."""
        return self.breaker.state(self.clock()) is not State.CLOSED

    def report(self) -> Mapping[str, Any]:
        """For the health report: the breaker, and the last call's latency, age and outcome; null before the first."""
        now = self.clock()
        at, seconds, outcome = self.last or (None, None, None)
        return {
            "breaker": self.breaker.state(now),
            "latency_ms": None if seconds is None else round(seconds * 1000, 2),
            "age_s": None if at is None else round(now - at, 2),
            "last_outcome": outcome,
        }


@dataclass(slots=True)
class Call:
    """One call on its way."""

    dependency: Dependency
    started: float
    finished: bool = False

    def finish(self, outcome: str, verdict: Verdict) -> None:
        """The call has ended; only the first report counts. ``outcome`` is one of the feature's own few words."""
        if self.finished:
            return
        self.finished = True
        dependency, now = self.dependency, self.dependency.clock()
        seconds = now - self.started
        dependency.last = (now, seconds, outcome)
        if verdict is Verdict.WORKS:
            dependency.breaker.succeeded()
        elif verdict is Verdict.FAILS:
            dependency.breaker.failed(now)
        dependency.metrics.count("ccl_provider_calls", dependency.name, outcome)
        dependency.metrics.observe("ccl_provider_call_seconds", seconds, dependency.name)
        if dependency.tracer:
            attributes = {"ccl.outcome": outcome}
            dependency.tracer.child(dependency.name, seconds, attributes, failed=verdict is Verdict.FAILS)


class Dependencies:
    """The providers of this process by name."""

    def __init__(self, metrics: Metrics, clock: Callable[[], float], tracer: Tracer | None = None) -> None:
        self._metrics, self._clock, self._tracer = metrics, clock, tracer
        self._known: dict[str, Dependency] = {}

    def add(self, name: str) -> Dependency:
        """The provider of this name, known from now on."""
        if name not in self._known:
            found = self._known[name] = Dependency(name, self._metrics, self._clock, self._tracer)
            self._metrics.gauge_from("ccl_breaker_open", lambda: float(found.open), name)
        return self._known[name]

    def __iter__(self) -> Iterator[Dependency]:
        return iter(self._known.values())


MAILGUN: Final = "mailgun"
OPENAI: Final = "openai"
