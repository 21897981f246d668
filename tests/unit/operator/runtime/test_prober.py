"""Questions to service pods, which are servers on loopback here, and what their answers are taken for."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TypeVar

import pytest
from aiohttp import web

from ccl_operator import names
from ccl_operator.actions import Key, ProbeTarget
from ccl_operator.observe import Probe
from ccl_operator.runtime.cache import Cache
from ccl_operator.runtime.metrics import Metrics
from ccl_operator.runtime.prober import AT_ONCE, BODY_MAX, PATH, Prober
from tests.unit.operator.samples import passing, secret

KEY, OTHER = Key("loans", "ccl"), Key("loans", "other")
TOKEN = "t" * 40
REPORT = passing("one")
#: Seconds; nothing here takes them unless it is broken.
PATIENCE = 30.0

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Found = TypeVar("Found")


@asynccontextmanager
async def serving(answer: Handler, host: str = "127.0.0.1") -> AsyncIterator[int]:
    """Pods of which each answers like this; yields their port."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, host, 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


class Asking:
    """A prober at work."""

    def __init__(self, *, every: float = 5.0, timeout: float = 5.0) -> None:
        self.cache, self._news = Cache(), asyncio.Event()
        self.prober = Prober(
            self.cache,
            Metrics(),
            clock=time.monotonic,
            now=lambda: datetime.now(UTC),
            enqueue=lambda _: self._news.set(),
            every=every,
            timeout=timeout,
        )
        self.hold_token(KEY, TOKEN)

    def hold_token(self, key: Key, token: str, version: int = 1) -> None:
        metadata = {"namespace": key.namespace, "name": names.monitor(key.name), "labels": names.labels(key.name)}
        metadata |= {"uid": key.name, "resourceVersion": str(version)}
        self.cache.put_child(names.SECRET, secret(token=token) | {"metadata": metadata})

    def ask(self, targets: Iterable[ProbeTarget], key: Key = KEY) -> None:
        self.prober.set_targets(key, targets)

    async def answer(self, pod_uid: str = "a", key: Key = KEY) -> Probe:
        """The pod's first answer."""
        return await self.until(lambda: self.cache.probes(key).get(pod_uid))

    async def until(self, look: Callable[[], Found | None]) -> Found:
        async with asyncio.timeout(PATIENCE):
            while not (found := look()):
                self._news.clear()
                await self._news.wait()
        return found


@asynccontextmanager
async def asking(**options: float) -> AsyncIterator[Asking]:
    found = Asking(**options)
    running = asyncio.create_task(found.prober.run())
    try:
        yield found
        assert not running.done()
    finally:
        running.cancel()
        await asyncio.wait([running])
    assert running.cancelled()


def pod(port: int, uid: str = "a", ip: str = "127.0.0.1") -> ProbeTarget:
    return ProbeTarget(uid, ip, port)


async def report(_: web.Request) -> web.Response:
    return web.Response(text=REPORT.model_dump_json(by_alias=True), content_type="application/json")


async def silence(_: web.Request) -> web.Response:
    await asyncio.Event().wait()
    raise AssertionError


class Counted:
    """A pod that counts its questions."""

    def __init__(self) -> None:
        self.questions, self._asked = 0, asyncio.Condition()

    async def answer(self, request: web.Request) -> web.Response:
        async with self._asked:
            self.questions += 1
            self._asked.notify_all()
        return await report(request)

    async def more(self, times: int) -> None:
        """Wait for so many questions more."""
        wanted = self.questions + times
        async with asyncio.timeout(PATIENCE), self._asked:
            await self._asked.wait_for(lambda: self.questions >= wanted)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_pod_is_asked_with_the_token_under_its_address(host: str) -> None:
    asked: list[tuple[str, str]] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append((request.path, request.headers["Authorization"]))
        return await report(request)

    async with serving(answer, host) as port, asking() as work:
        work.ask([pod(port, ip=host)])
        assert (await work.answer()).report == REPORT
    assert asked == [(PATH, f"Bearer {TOKEN}")]


async def unavailable(_: web.Request) -> web.Response:
    return web.Response(status=503, text=REPORT.model_dump_json(by_alias=True))


async def elsewhere(request: web.Request) -> web.Response:
    if request.path == PATH:
        raise web.HTTPFound("/elsewhere")
    return await report(request)


async def endless(_: web.Request) -> web.Response:
    return web.Response(text=" " * (BODY_MAX + 1) + REPORT.model_dump_json(by_alias=True))


async def chatter(_: web.Request) -> web.Response:
    return web.json_response({"status": "fine"})


async def hang_up(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (unavailable, "HTTP 503"),
        (elsewhere, "HTTP 302"),
        (endless, "the answer is too long"),
        (chatter, "not a readiness report: 1 errors"),
        (hang_up, "no answer: ServerDisconnectedError"),
        (silence, "no answer within 0.2 s"),
    ],
)
async def test_whatever_is_no_whole_report_is_inconclusive_with_the_reason(answer: Handler, why: str) -> None:
    async with serving(answer) as port, asking(timeout=0.2 if answer is silence else 5.0) as work:
        work.ask([pod(port)])
        found = await work.answer()
    assert (found.report, found.error) == (None, why)


async def test_a_port_on_which_nobody_listens_is_inconclusive() -> None:
    async with serving(report) as port:
        pass
    async with asking() as work:
        work.ask([pod(port)])
        assert (await work.answer()).error == "no answer: ClientConnectorError"


async def test_without_a_token_nobody_is_asked() -> None:
    asked = Counted()
    async with serving(asked.answer) as port, asking() as work:
        work.ask([pod(port)], OTHER)
        found = await work.answer(key=OTHER)
    assert (found.report, found.error) == (None, "Secret other-monitor has no token yet")
    assert asked.questions == 0


@pytest.mark.parametrize(
    "token", ["t" * 40 + "\r\nX-Role: root", "t\0" * 40, "t " * 40], ids=["line break", "NUL", "blank"]
)
async def test_a_token_that_no_header_can_carry_concerns_its_own_object_alone(token: str) -> None:
    async with serving(report) as port, asking(every=0.01) as work:
        work.hold_token(OTHER, token)
        work.ask([pod(port)], OTHER)
        found = await work.answer(key=OTHER)
        work.ask([pod(port)])
        assert (await work.answer()).report == REPORT
        work.hold_token(OTHER, TOKEN, version=2)
        await work.until(lambda: work.cache.probes(OTHER)["a"].report)
    assert found.report is None
    assert found.error.startswith("the token of Secret other-monitor is no token")
    assert token not in found.error


async def test_a_line_break_at_the_end_is_not_part_of_the_token() -> None:
    async with serving(report) as port, asking() as work:
        work.hold_token(OTHER, f"{TOKEN}\n")
        work.ask([pod(port)], OTHER)
        assert (await work.answer(key=OTHER)).report == REPORT


async def test_a_silent_pod_holds_nobody_else_up() -> None:
    others = {f"other-{number}" for number in range(3 * AT_ONCE)}
    async with serving(silence) as silent, serving(report) as port, asking(timeout=PATIENCE) as work:
        work.ask([pod(silent, "silent"), *(pod(port, uid) for uid in others)])
        await work.until(lambda: work.cache.probes(KEY).keys() >= others)
        assert "silent" not in work.cache.probes(KEY)


async def test_behind_many_silent_pods_everybody_has_a_turn() -> None:
    silent_ones = {f"silent-{number}" for number in range(2 * AT_ONCE)}
    async with serving(silence) as silent, serving(report) as port, asking(every=0.2, timeout=0.2) as work:
        work.ask(pod(silent, uid) for uid in silent_ones)
        work.ask([pod(port)], OTHER)
        work.hold_token(OTHER, TOKEN)
        # Its own answer may be late too on a busy machine; then it has another turn.
        await work.until(lambda: any(probe.report == REPORT for probe in work.cache.probes(OTHER).values()))
        await work.until(lambda: work.cache.probes(KEY).keys() == silent_ones)


async def test_no_more_than_so_many_are_asked_at_once_and_each_once() -> None:
    under_way, most, all_there = [0], [0], asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        under_way[0] += 1
        most[0] = max(most[0], under_way[0])
        if under_way[0] == AT_ONCE:
            all_there.set()
        await all_there.wait()
        under_way[0] -= 1
        return await report(request)

    async with serving(answer) as port, asking(every=PATIENCE) as work:
        work.ask(pod(port, str(number)) for number in range(2 * AT_ONCE))
        await work.until(lambda: len(work.cache.probes(KEY)) == 2 * AT_ONCE)
    assert most == [AT_ONCE]


async def test_a_pod_is_asked_again_and_again_until_it_is_withdrawn() -> None:
    first, second = Counted(), Counted()
    async with serving(first.answer) as a, serving(second.answer) as b, asking(every=0.01) as work:
        work.ask([pod(a, "a"), pod(b, "b")])
        await first.more(3)
        work.ask([pod(b, "b")])
        before = first.questions
        await second.more(5)
        assert first.questions <= before + 1, "the one under way at most"
        assert work.cache.probes(KEY).keys() == {"b"}


async def test_the_answer_of_a_pod_that_was_withdrawn_meanwhile_is_not_kept() -> None:
    arrived, go, other = asyncio.Event(), asyncio.Event(), Counted()

    async def slow(request: web.Request) -> web.Response:
        arrived.set()
        await go.wait()
        return await report(request)

    async with serving(slow) as late, serving(other.answer) as port, asking(every=0.01) as work:
        work.ask([pod(late, "late")])
        await arrived.wait()
        work.ask([pod(port)])
        go.set()
        await other.more(5)
        assert work.cache.probes(KEY).keys() == {"a"}
