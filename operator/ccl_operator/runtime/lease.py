"""Which of several operators writes: a Lease, held by one, taken over when its holder is silent or lets it go.

The rules are client-go's (kubernetes.io, "Leases"; k8s.io/client-go/tools/leaderelection): clocks of two machines are
never compared, a record counts as expired when *we* saw no change of it for its duration. What differs: writes end
with the ``Permit`` ten seconds after the last renewal was *sent*, five before anybody else may begin; and who loses the
Lease never gets it back: the process ends, so that nothing it remembers can be of harm.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from ccl_operator.runtime.client import Client
from ccl_operator.runtime.errors import ApiError, Conflict, NotFound
from ccl_operator.runtime.permit import Permit
from ccl_operator.runtime.place import Place
from ccl_operator.runtime.rbac import LEASE

#: Seconds without a change after which others take over; told to them in the record.
DURATION: Final = 15
#: Seconds after the last renewal when writing ends.
WRITE_FOR: Final = 10.0
RENEW_EVERY: Final = 2.0
#: Seconds between two looks of a standby: a released Lease is taken up so soon.
LOOK_EVERY: Final = 1.0

Json = dict[str, Any]

log = structlog.get_logger(__name__)


class LeaseLost(Exception):
    """This process may not write any more."""


@dataclass(frozen=True)
class Record:
    """A Lease as read. ``duration`` in seconds."""

    holder: str
    duration: int
    transitions: int
    resource_version: str

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> "Record":
        """From the object; what is missing means: held by nobody."""
        spec = manifest.get("spec") or {}
        return cls(
            holder=spec.get("holderIdentity") or "",
            duration=int(spec.get("leaseDurationSeconds") or DURATION),
            transitions=int(spec.get("leaseTransitions") or 0),
            resource_version=manifest["metadata"]["resourceVersion"],
        )


@dataclass(frozen=True)
class Sighting:
    """A record and when, on our own clock, it was first seen in this form."""

    record: Record
    since: float

    def free_at(self) -> float:
        """When others may take it; now when nobody holds it."""
        return self.since + self.record.duration if self.record.holder else self.since


class Elector:
    """``clock`` is monotonic, in seconds; ``now`` is UTC. The identity must be another one after a restart."""

    def __init__(
        self,
        client: Client,
        permit: Permit,
        place: Place,
        *,
        clock: Callable[[], float],
        now: Callable[[], datetime],
    ) -> None:
        self._client, self._permit = client, permit
        self._namespace, self._name, self._identity = place.lease_namespace, place.lease, place.identity
        self._clock, self._now = clock, now
        self._seen: Sighting | None = None
        self._acquired_at = ""
        self._released = False
        self.held = asyncio.Event()

    async def run(self) -> None:
        """Wait for the Lease, then keep it. Returns never; raises LeaseLost."""
        await self._acquire()
        log.info("this process leads", action="lease.acquired", lease=self._name, identity=self._identity)
        self.held.set()
        while True:
            await asyncio.sleep(min(RENEW_EVERY, self._permit.remaining()))
            await self._renew()

    async def release(self) -> None:
        """Let others have it at once, if it is still ours. Never raises for the API server's sake."""
        if not self.held.is_set() or self._permit.remaining() <= 0:
            return
        self._released = True
        self._permit.revoke()
        try:
            # Read anew: a renewal that was cut off a moment ago may have been carried out.
            await self._look()
            self._refuse_others()
            await self._write(self._seen.record if self._seen else None, holder="")
        except (ApiError, LeaseLost) as error:
            log.warning("lease not released", action="lease.unreleased", error=str(error))
        else:
            log.info("lease released", action="lease.released", lease=self._name)

    def is_overdue(self) -> bool:
        """Whether this process led, may not write any more, and did not say so itself: it should be ending."""
        return self.held.is_set() and not self._released and self._permit.remaining() <= 0

    async def _acquire(self) -> None:
        while True:
            try:
                await self._look()
                if self._seen is None or self._seen.free_at() <= self._clock():
                    await self._take()
                    return
            except ApiError as error:
                # Somebody was quicker, or the API server is away: look again.
                log.info("lease not acquired", action="lease.waiting", error=str(error))
            await asyncio.sleep(LOOK_EVERY)

    async def _look(self) -> None:
        try:
            record = Record.of(await self._client.get(LEASE, self._namespace, self._name))
        except NotFound:
            self._seen = None
            return
        if self._seen is None or self._seen.record != record:
            # The time after the answer: an expiry may come late, never early.
            self._seen = Sighting(record, self._clock())

    async def _take(self) -> None:
        self._acquired_at = self._timestamp()
        await self._extend()

    async def _renew(self) -> None:
        """Raises LeaseLost when somebody else has it or time is up; any other failure is tried again."""
        try:
            async with asyncio.timeout(self._permit.remaining()):
                if self._seen is None:
                    await self._look()
                    self._refuse_others()
                await self._extend()
        except (Conflict, NotFound):
            # The answer to our own write was lost, somebody else wrote, or the Lease was deleted.
            self._seen = None
        except (ApiError, TimeoutError) as error:
            log.warning("lease not renewed", action="lease.unrenewed", error=str(error) or type(error).__name__)
        if self._permit.remaining() <= 0:
            raise LeaseLost(f"the lease {self._name} could not be renewed for {WRITE_FOR:.0f} s")

    def _refuse_others(self) -> None:
        if self._seen is not None and self._seen.record.holder != self._identity:
            self._permit.revoke()
            raise LeaseLost(f"the lease {self._name} is held by {self._seen.record.holder or 'nobody'}")

    async def _extend(self) -> None:
        sent = self._clock()
        answer = await self._write(self._seen.record if self._seen else None, holder=self._identity)
        self._seen = Sighting(Record.of(answer), self._clock())
        self._permit.extend(sent + WRITE_FOR)

    async def _write(self, before: Record | None, holder: str) -> Json:
        manifest: Json = {
            "apiVersion": LEASE.api_version,
            "kind": LEASE.kind,
            "metadata": {"namespace": self._namespace, "name": self._name},
            "spec": self._spec(before, holder),
        }
        if before is None:
            return await self._client.create(LEASE, self._namespace, manifest)
        # Refused (409) when anybody wrote since.
        manifest["metadata"]["resourceVersion"] = before.resource_version
        return await self._client.replace(LEASE, manifest)

    def _spec(self, before: Record | None, holder: str) -> Json:
        transitions = before.transitions if before else 0
        if before and holder and holder != before.holder:
            transitions += 1
        return {
            "holderIdentity": holder,
            # As client-go releases: one second, should anybody wait for the expiry of a Lease without a holder.
            "leaseDurationSeconds": DURATION if holder else 1,
            "acquireTime": self._acquired_at,
            "renewTime": self._timestamp(),
            "leaseTransitions": transitions,
        }

    def _timestamp(self) -> str:
        # MicroTime wants exactly six digits.
        return self._now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
