"""One pass over one CclDeployment: observe, plan, write what differs, events, one status write.

The only place where the pure core meets the shell. Says what happened; when to look again is ``workers``' business.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Literal

import structlog

from ccl_operator import names, report
from ccl_operator.actions import Event, Key, Manifest, Plan, Resource
from ccl_operator.api.status import Status, parse_status, render_status, whole_second
from ccl_operator.config import Config
from ccl_operator.observe import Observed, observe
from ccl_operator.plan import plan
from ccl_operator.runtime.cache import Cache
from ccl_operator.runtime.errors import ApiError, Forbidden, NamespaceTerminating, NotFound, Refused
from ccl_operator.runtime.events import Events
from ccl_operator.runtime.prober import Prober
from ccl_operator.runtime.references import References
from ccl_operator.runtime.writer import Names, Writer, Written

Word = Literal["gone", "unchanged", "wrote", "foreign", "forbidden", "refused"]

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Outcome:
    """``wrote``: the next pass may see more. ``blocked``: try again, backing off. ``requeue_at``: the latest moment."""

    word: Word
    wrote: bool = False
    blocked: bool = False
    requeue_at: datetime | None = None


class Reconciler:
    """``now`` is UTC; ``entropy`` makes fresh random bytes."""

    def __init__(
        self,
        *,
        cache: Cache,
        writer: Writer,
        references: References,
        prober: Prober,
        events: Events,
        config: Config,
        now: Callable[[], datetime],
        entropy: Callable[[int], bytes],
    ) -> None:
        self._cache, self._writer, self._references = cache, writer, references
        self._prober, self._events, self._config = prober, events, config
        self._now, self._entropy = now, entropy

    async def reconcile(self, key: Key) -> Outcome:
        """Do one pass. Raises TryLater."""
        try:
            return await self._pass(key)
        except NamespaceTerminating as error:
            log.info("namespace is being deleted", action="reconcile.leaving", name=key.name, error=str(error))
            return Outcome("gone")

    async def _pass(self, key: Key) -> Outcome:
        forbidden = await self._read_references(key)
        observed = observe(self._cache, key)
        if observed is None:
            self._prober.set_targets(key, ())
            return Outcome("gone")
        wanted = self._plan(observed)
        taken = await self._writer.taken(key, observed.owner, wanted.applies)
        if self._cache.set_foreign(key, taken.foreign) or taken.found:
            # The plan was made without knowing that: make it anew before anything is written.
            return Outcome("foreign" if taken.foreign else "wrote", wrote=True)
        self._prober.set_targets(key, wanted.probes)
        barred = taken.barred
        free = [one for one in wanted.applies if (one.resource, one.manifest["metadata"]["name"]) not in barred]
        written = await self._writer.write(key, free, wanted.deletes)
        written.forbidden.update(taken.forbidden | forbidden)
        return await self._conclude(key, observed.owner, wanted, written, taken)

    async def _read_references(self, key: Key) -> dict[Resource, str]:
        owner = self._cache.owner(key)
        if owner is None:
            return {}
        try:
            await self._references.refresh(key, owner)
        except (Forbidden, Refused) as error:
            return {names.SECRET: error.message}
        return {}

    async def interrupted(self, key: Key, why: str) -> None:
        """Tell that passes over an object keep ending early."""
        await self._tell(key, partial(report.interrupted, why=why))

    async def failed(self, key: Key) -> None:
        """Tell, once for each generation, that a pass over an object has raised."""
        await self._tell(key, report.failed)

    async def _tell(self, key: Key, tell: Callable[[Status, int, datetime], Status | None]) -> None:
        """Best effort, and nothing else in the status changes. ``tell`` gets the known status and the generation."""
        owner = self._cache.owner(key)
        if owner is None:
            return
        known = parse_status(owner)
        status = tell(known, int(owner["metadata"].get("generation", 0)), whole_second(self._now()))
        try:
            if status is not None and await self._writer.write_status(owner, render_status(status)):
                self._post(owner, report.events(known, status))
        except ApiError as error:
            log.warning("status not written", action="status.lost", name=key.name, error=str(error))

    def _plan(self, observed: Observed) -> Plan:
        return plan(observed, now=self._now(), config=self._config, entropy=self._entropy(256))

    async def _conclude(self, key: Key, owner: Manifest, wanted: Plan, written: Written, taken: Names) -> Outcome:
        news = self._cache.set_forbidden(key, written.forbidden)
        news |= self._cache.set_refused(key, written.refused)
        self._post(owner, wanted.events)
        wrote = written.wrote or news
        if wanted.status is not None:
            try:
                wrote |= await self._writer.write_status(owner, wanted.status)
            except NotFound:
                return Outcome("gone")
            except (Forbidden, Refused) as error:
                log.error("status refused", action="status.refused", name=key.name, error=str(error))
                return Outcome("refused", blocked=True)
        blocked = bool(written.forbidden or written.refused or taken.foreign or taken.leaving)
        return Outcome(_word(written, taken, wrote), wrote, blocked, wanted.requeue_at)

    def _post(self, owner: Manifest, events: Iterable[Event]) -> None:
        for event in events:
            self._events.post(owner, event)


def _word(written: Written, taken: Names, wrote: bool) -> Word:
    if written.forbidden:
        return "forbidden"
    if written.refused:
        return "refused"
    if taken.foreign:
        return "foreign"
    return "wrote" if wrote else "unchanged"
