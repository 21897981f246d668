"""Posts Kubernetes events about CclDeployments: few, and never at the price of a reconcile.

A pass only hands them over; they are sent one after the other, at a pace of their own (``client``).
"""

import asyncio
import math
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import structlog

from ccl_operator import names
from ccl_operator.actions import Event, Manifest
from ccl_operator.runtime.client import Client
from ccl_operator.runtime.errors import ApiError
from ccl_operator.runtime.metrics import Metrics
from ccl_operator.runtime.pace import TokenBucket
from ccl_operator.runtime.rbac import EVENT

#: Per object, as client-go's recorder: 25 at once, then one in five minutes.
RATE: Final = 1 / 300
BURST: Final = 25.0
#: The same words about the same object are not said again for so long, in seconds.
SILENCE: Final = 60.0
REMEMBERED: Final = 2_000
#: So many may wait to be sent; client-go's recorder keeps as many.
WAITING: Final = 1_000
NOTE_MAX: Final = 1_000

Used = TypeVar("Used")

log = structlog.get_logger(__name__)


class Events:
    """``clock`` is monotonic, in seconds; ``now`` is UTC; ``unique`` makes a suffix for each event's name."""

    def __init__(
        self,
        client: Client,
        metrics: Metrics,
        instance: str,
        *,
        clock: Callable[[], float],
        now: Callable[[], datetime],
        unique: Callable[[], str],
    ) -> None:
        self._client, self._metrics, self._instance = client, metrics, instance
        self._clock, self._now, self._unique = clock, now, unique
        #: Both with the latest used last.
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()
        self._said: OrderedDict[tuple[str, Event], float] = OrderedDict()
        #: None: there will be no more.
        self._waiting: asyncio.Queue[Manifest | None] = asyncio.Queue()

    def post(self, owner: Manifest, event: Event) -> None:
        """Have an event sent, unless there are too many or it was just said. Waits for nothing."""
        if self._waiting.qsize() >= WAITING or not self._may_say(owner["metadata"]["uid"], event):
            self._metrics.events_dropped.inc()
            return
        self._waiting.put_nowait(self._manifest(owner, event))

    async def run(self) -> None:
        """Send, until closed and all is sent. Never raises for the API server's sake."""
        while (manifest := await self._waiting.get()) is not None:
            try:
                await self._client.create(EVENT, manifest["metadata"]["namespace"], manifest)
            except ApiError as error:
                self._metrics.events_dropped.inc()
                log.warning("event not posted", action="event.lost", reason=manifest["reason"], error=str(error))

    def close(self) -> None:
        """There will be no more: ``run`` returns when those that wait are sent."""
        self._waiting.put_nowait(None)

    def _may_say(self, uid: str, event: Event) -> bool:
        now = self._clock()
        if now - self._said.get((uid, event), -math.inf) < SILENCE:
            return False
        bucket = self._buckets.setdefault(uid, TokenBucket(RATE, BURST, self._clock))
        _keep_latest(self._buckets, uid)
        if not bucket.try_take():
            return False
        self._said[uid, event] = now
        _keep_latest(self._said, (uid, event))
        return True

    def _manifest(self, owner: Manifest, event: Event) -> Manifest:
        metadata = owner["metadata"]
        return {
            "apiVersion": EVENT.api_version,
            "kind": EVENT.kind,
            "metadata": {"name": f"{metadata['name']}.{self._unique()}", "namespace": metadata["namespace"]},
            # MicroTime wants exactly six digits.
            "eventTime": self._now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "reportingController": f"{names.GROUP}/{names.FIELD_MANAGER}",
            "reportingInstance": self._instance,
            "action": "Reconcile",
            "type": event.type,
            "reason": event.reason,
            "note": event.message[:NOTE_MAX],
            "regarding": {
                "apiVersion": names.OWNER.api_version,
                "kind": names.OWNER.kind,
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
            },
        }


def _keep_latest(known: OrderedDict[Used, Any], used: Used) -> None:
    """Forget what was used the longest ago, when there is too much. ``used`` is used now."""
    known.move_to_end(used)
    while len(known) > REMEMBERED:
        known.popitem(last=False)
