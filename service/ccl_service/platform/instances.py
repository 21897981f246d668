"""Which processes of this deployment are alive, kept in the database."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog

from ccl_service.platform.db import Db
from ccl_service.platform.gate import Fits, Gate, always
from ccl_service.platform.problems import CclError

BEAT: Final = timedelta(seconds=10)
ALIVE_FOR: Final = timedelta(seconds=30)

BEAT_SQL: Final = """
-- instance_beat: process $1 of revision $2 in role $3 is alive
INSERT INTO instances (pod, revision, role) VALUES ($1, $2, $3)
ON CONFLICT (pod) DO UPDATE SET revision = excluded.revision, role = excluded.role, seen_at = now()"""

FORGET_SQL: Final = """
-- instance_forget: process $1 has ended, and so have those unseen for an hour
DELETE FROM instances WHERE pod = $1 OR seen_at < now() - interval '1 hour'"""

LIVE_WEB_SQL: Final = """
-- instances_live_web: how many web processes of revision $1 were seen within $2
SELECT count(*) FROM instances WHERE revision = $1 AND role IN ('web', 'all') AND seen_at > now() - $2::interval"""

LIVE_SQL: Final = """
-- instances_live: how many processes of any revision and role were seen within $1
SELECT count(*) FROM instances WHERE seen_at > now() - $1::interval"""

log = structlog.get_logger("ccl.instances")


@dataclass(frozen=True, slots=True)
class Instance:
    """This process: ``pod`` is unique within the deployment."""

    pod: str
    revision: str
    role: str


async def live_web(db: Db, revision: str) -> int:
    """Web processes of ``revision`` seen within the last 30 s. Raises DatabaseUnavailable."""
    return int(await db.fetchval(LIVE_WEB_SQL, revision, ALIVE_FOR))


async def live_instances(db: Db) -> int:
    """Processes of this deployment seen within the last 30 s. Raises DatabaseUnavailable."""
    return int(await db.fetchval(LIVE_SQL, ALIVE_FOR))


class Heartbeat:
    """Writes the row every ten seconds and takes it away at the end."""

    def __init__(self, db: Db, instance: Instance, *, fits: Fits = always) -> None:
        """``fits`` is asked before each beat (``platform.gate``)."""
        self._db = db
        self._instance = instance
        self._gate = Gate("heartbeat", fits)

    async def beat(self) -> None:
        """Write once. Raises DatabaseUnavailable."""
        await self._db.execute(BEAT_SQL, self._instance.pod, self._instance.revision, self._instance.role)

    async def run(self, stop: asyncio.Event) -> None:
        """Beat until ``stop``; a database that is away costs beats, nothing else."""
        while not stop.is_set():
            try:
                if await self._gate.open():
                    await self.beat()
            except CclError as exc:
                log.warning("beat missed", action="instance:beat:missed", code=exc.code)
            try:
                await asyncio.wait_for(stop.wait(), BEAT.total_seconds())
            except TimeoutError:
                continue
        try:
            if await self._gate.open():
                await self._db.execute(FORGET_SQL, self._instance.pod)
        except CclError as exc:
            log.warning("row left to expire", action="instance:row:left", code=exc.code)
