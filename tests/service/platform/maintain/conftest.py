"""The upkeep on this test's database."""

from collections.abc import Callable
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from ccl_service.platform.audit.sealer import Sealer
from ccl_service.platform.audit.service import Audit
from ccl_service.platform.db import PoolDb
from ccl_service.platform.keys import KeyName, KeyRing, KeySource
from ccl_service.platform.maintain.run import Upkeep


@pytest.fixture
def keys() -> KeyRing:
    return KeyRing({KeyName.JWT: KeySource(value="jwt-secret-of-the-service-tests-0001")})


Open = Callable[..., Upkeep]


@pytest.fixture
def upkeep(db: PoolDb, keys: KeyRing) -> Open:
    """``upkeep(dry=…, seconds_left=…)``; by default there is time without end."""

    def make(*, dry: bool = False, seconds_left: Callable[[], float] = lambda: 60.0) -> Upkeep:
        def now() -> datetime:
            return datetime.now(UTC)

        return Upkeep(db, Audit(keys, now=now, new_id=uuid4), Sealer(db, keys, now=now), seconds_left, dry)

    return make
