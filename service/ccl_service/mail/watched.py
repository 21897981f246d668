"""A provider whose every call is measured, and which says when calls should be held back."""

from datetime import timedelta
from typing import Final, Protocol

from ccl_service.mail.model import Accepted, Answer, Letter, NoAnswer, NotTaken, RefusesUs, Rejected
from ccl_service.platform.dependencies import Dependency, Verdict

#: Kind of answer → how it is counted, and what it tells about the provider. A refusal of our key is an answer; sends
#: are held for it one by one.
_TELLS: Final[dict[type, tuple[str, Verdict]]] = {
    Accepted: ("accepted", Verdict.WORKS),
    Rejected: ("rejected", Verdict.WORKS),
    RefusesUs: ("refused_us", Verdict.NOTHING),
    NoAnswer: ("no_answer", Verdict.FAILS),
    NotTaken: ("not_taken", Verdict.FAILS),
}
#: Too many requests: it works, and says when to come back.
_LIMITED: Final = ("limited", Verdict.NOTHING)


class Sends(Protocol):
    """Takes letters."""

    async def send(self, letter: Letter) -> Answer:
        """Hand one letter over."""


class WatchedProvider:
    """Another provider, watched."""

    def __init__(self, provider: Sends, dependency: Dependency) -> None:
        self._provider, self._dependency = provider, dependency

    def resting(self) -> timedelta | None:
        """How long to hold sends back; None when they may go out."""
        return self._dependency.resting()

    async def send(self, letter: Letter) -> Answer:
        """Hand one letter over."""
        call = self._dependency.begin()
        try:
            answer = await self._provider.send(letter)
        except BaseException:
            call.finish("given_up", Verdict.NOTHING)
            raise
        limited = isinstance(answer, NotTaken) and answer.reason == "http:429"
        call.finish(*(_LIMITED if limited else _TELLS[type(answer)]))
        return answer
