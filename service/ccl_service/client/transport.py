"""Requests and answers: addresses, time-outs, problems, and what may be tried again. Knows no route."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import aiohttp
from pydantic import BaseModel

from ccl_service.client.errors import ApiError, Problem, Unreachable, problem_in

M = TypeVar("M", bound=BaseModel)
F = TypeVar("F", bound=Callable[..., Any])
Headers = Mapping[str, str]

#: In seconds: until a connection is there, until the whole answer is, and between two pieces of one that goes on.
CONNECT, ANSWER, SILENCE = 5.0, 30.0, 30.0
#: Methods that may be repeated without doing more (RFC 9110, 9.2.2).
_IDEMPOTENT: Final = frozenset({"GET", "DELETE"})


def operation(*ids: str) -> Callable[[F], F]:
    """Names the operations of the API's document that a method calls."""

    def named(method: F) -> F:
        method.operations = ids  # type: ignore[attr-defined]
        return method

    return named


@dataclass(frozen=True, slots=True)
class Retry:
    """How often to try, and how long to wait in between: what the service says, else longer each time.

    ``attempts`` counts the first one; ``first`` and ``longest`` in seconds. A longer wait is not waited.
    """

    attempts: int = 4
    first: float = 0.2
    longest: float = 20.0

    def wait(self, attempt: int, asked: float | None, chance: float) -> float | None:
        """Seconds before the attempt after ``attempt``; None for no further one. ``chance``: 0 to 1, for jitter."""
        seconds = self.first * 2 ** (attempt - 1) * (0.5 + chance) if asked is None else asked + chance * self.first
        return None if attempt >= self.attempts or seconds > self.longest else seconds


@dataclass(frozen=True, slots=True)
class Request:
    """One request. ``repeatable``: although its method may not be repeated, this may.

    ``answers``: statuses from 400 on that are answers and no problems. ``seconds``: until the whole answer is there,
    None for as long as something comes.
    """

    method: str
    path: str
    query: BaseModel | None = None
    body: BaseModel | None = None
    data: Any = None
    headers: Headers = field(default_factory=dict)
    repeatable: bool = False
    answers: frozenset[int] = frozenset()
    seconds: float | None = ANSWER

    @property
    def again(self) -> bool:
        """Whether it may be sent twice."""
        return self.repeatable or self.method in _IDEMPOTENT

    def options(self) -> dict[str, Any]:
        """For aiohttp. What is not set is not sent, so that the service's defaults hold."""
        silence = SILENCE if self.seconds is None else None
        timeout = aiohttp.ClientTimeout(total=self.seconds, connect=CONNECT, sock_read=silence)
        found: dict[str, Any] = {"headers": dict(self.headers), "timeout": timeout}
        if self.query is not None:
            sent = self.query.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)
            found["params"] = {name: str(value) for name, value in sent.items()}
        if self.body is not None:
            found["data"] = self.body.model_dump_json(by_alias=True, exclude_none=True)
            found["headers"]["Content-Type"] = "application/json"
        elif self.data is not None:
            found["data"] = self.data
        return found


class Transport:
    """Sends requests over one session, whose base URL ends in a slash."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        retry: Retry,
        *,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.session, self._retry, self._chance = session, retry, chance

    async def json(self, model: type[M], request: Request) -> M:
        """The answer as ``model``. Raises Problem, Unreachable."""
        return model.model_validate_json(await self.body(request))

    async def text(self, request: Request) -> str:
        """The answer as text. Raises Problem, Unreachable."""
        return (await self.body(request)).decode()

    async def body(self, request: Request) -> bytes:
        """The answer's bytes, after as many attempts as the request and the answers allow."""
        attempt = 1
        while True:
            try:
                async with self.open(request) as answer:
                    return await answer.read()
            except ApiError as error:
                wait = self._wait(request, error, attempt)
                if wait is None:
                    raise
            await asyncio.sleep(wait)
            attempt += 1

    def _wait(self, request: Request, error: ApiError, attempt: int) -> float | None:
        hopeless = isinstance(error, Problem) and not error.retryable
        if hopeless or not request.again:
            return None
        asked = error.retry_after if isinstance(error, Problem) else None
        return self._retry.wait(attempt, asked, self._chance())

    @contextlib.asynccontextmanager
    async def open(self, request: Request) -> AsyncIterator[aiohttp.ClientResponse]:
        """One attempt; the answer to be read piece by piece. Raises Problem, Unreachable, also while it is read."""
        with translated():
            sent = self.session.request(request.method, request.path, **request.options())
            async with sent as answer:
                if answer.status >= 400 and answer.status not in request.answers:
                    raise problem_in(answer.status, answer.reason or "", await answer.read(), answer.headers)
                yield answer


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """aiohttp's errors as ours."""
    try:
        yield
    except (aiohttp.ClientError, TimeoutError) as exc:
        raise Unreachable(f"no answer ({type(exc).__name__})") from exc
