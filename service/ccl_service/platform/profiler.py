"""A statistical profile of this process, on demand: bounded in time, one at a time, self-contained.

It samples whatever the event loop's thread runs, all requests and background work alike; a profile that followed one
task, as the profiler's async mode does, would show how this handler sleeps. Waiting shows as time in the selector.
"""

import asyncio
import contextlib
import re
from enum import StrEnum
from typing import Final

from ccl_service.platform.problems import Conflict

LONGEST_SECONDS: Final = 60
#: Between two samples, in seconds.
INTERVAL: Final = 0.001
#: The page may run what it carries and load nothing.
POLICY: Final = (
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src data:; font-src data:\">"
)
_FONTS: Final = re.compile(r"https://fonts\.googleapis\.com/[^\"']*")


class Format(StrEnum):
    """html: a page to open; speedscope: JSON for https://www.speedscope.app (also runs locally)."""

    HTML = "html"
    SPEEDSCOPE = "speedscope"


class ProfileSlot:
    """Lets one profile run at a time."""

    def __init__(self) -> None:
        #: Whether one runs.
        self.busy = False

    async def take(self, seconds: float, form: Format, *, stop: asyncio.Event) -> str:
        """Sample for ``seconds``, or until ``stop``. Raises Conflict while another profile runs."""
        from pyinstrument import Profiler  # noqa: PLC0415 - nobody pays for it before the first profile

        if self.busy:
            raise Conflict("a profile is being taken")
        self.busy = True
        profiler = Profiler(interval=INTERVAL, async_mode="disabled")
        try:
            profiler.start()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), seconds)
        finally:
            session = profiler.stop() if profiler.is_running else None
            self.busy = False
        if session is None:
            raise Conflict("the profiler was stopped by somebody else")
        # rendering a minute of samples takes long enough to be done where no request waits for it
        return await asyncio.to_thread(_render, session, form)


def _render(session: object, form: Format) -> str:
    from pyinstrument.renderers import HTMLRenderer, SpeedscopeRenderer  # noqa: PLC0415
    from pyinstrument.session import Session  # noqa: PLC0415

    assert isinstance(session, Session)
    if form is Format.SPEEDSCOPE:
        return str(SpeedscopeRenderer().render(session))
    return _FONTS.sub("data:text/css,", str(HTMLRenderer().render(session))).replace("<head>", f"<head>{POLICY}", 1)
