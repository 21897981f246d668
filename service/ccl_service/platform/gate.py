"""Whether background jobs may write: not on a schema that has left this version behind."""

from collections.abc import Awaitable, Callable

import structlog

log = structlog.get_logger(__name__)

#: Whether this version may work on the schema that the database holds now.
Fits = Callable[[], Awaitable[bool]]


async def always() -> bool:
    """``Fits`` of a job that need not ask."""
    return True


class Gate:
    """Asked by a job before each of its turns. Says when the answer changes, and not at every turn."""

    def __init__(self, job: str, fits: Fits) -> None:
        """``job``: its name in the log."""
        self._job, self._fits, self._open = job, fits, True

    async def open(self) -> bool:
        """Whether the job may take its turn."""
        fits = await self._fits()
        if self._open and not fits:
            log.warning("schema does not fit, work is held back", action="work.held_back", task=self._job)
        elif fits and not self._open:
            log.info("work goes on", action="work.goes_on", task=self._job)
        self._open = fits
        return fits
