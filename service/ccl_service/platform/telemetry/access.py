"""One line for each answered request. Written by hand: a logging library costs several times the line itself."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from ccl_service.platform.telemetry.context import RequestContext
from ccl_service.platform.telemetry.logs import LEVELS, LineSink, current_sink

#: Lines that are held back at most; they are written together when the event loop has answered what it had.
MOST_HELD: Final = 200


def access_log(level: str) -> "AccessLog | None":
    """The log beside the other lines; None at levels that leave requests out."""
    return AccessLog(current_sink()) if LEVELS[level] <= LEVELS["info"] else None


class AccessLog:
    """Writes JSON lines with fields that are constants, ids and numbers; nothing in them needs a mask."""

    def __init__(self, sink: LineSink, *, wall: Callable[[], float] = time.time) -> None:
        """``wall`` in seconds since the epoch."""
        self._sink = sink
        self._wall = wall
        self._held: list[str] = []
        self._second = -1
        self._stamp = ""

    def write(self, context: RequestContext, method: str, route: str, status: int, seconds: float) -> None:
        """Note one answer. Call from the event loop; ``route`` is a template, ids are plain ASCII without quotes."""
        held = self._held
        held.append(
            f'{{"event":"request","level":"info","timestamp":"{self._now()}","action":"http:request:answered",'
            f'"request_id":"{context.request_id}","trace_id":"{context.trace_id}","principal":"{context.principal}",'
            f'"principal_id":"{context.principal_id}","method":"{method}","route":"{route}","status":{status},'
            f'"took_ms":{seconds * 1000:.2f}}}'
        )
        if len(held) == 1:
            asyncio.get_running_loop().call_soon(self.flush)
        elif len(held) >= MOST_HELD:
            self.flush()

    def flush(self) -> None:
        """Write what is held back."""
        if self._held:
            lines, self._held = self._held, []
            self._sink.write_line("\n".join(lines))

    def _now(self) -> str:
        """ISO 8601 in UTC, to the millisecond."""
        at = self._wall()
        second = int(at)
        if second != self._second:
            self._second = second
            self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._stamp}.{int((at - second) * 1000):03d}Z"
