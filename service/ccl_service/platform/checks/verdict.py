"""What a check says, and what it may look at."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from ccl_contract.readiness import CheckStatus
from ccl_service.platform.config import Settings
from ccl_service.platform.db import Db
from ccl_service.platform.redis_counts import RedisCounts

PASS, WARN, FAIL = CheckStatus.PASS, CheckStatus.WARN, CheckStatus.FAIL


class Verdict(NamedTuple):
    """``reason`` in CamelCase, ``message`` what was seen (no value of a secret), ``action`` what to do."""

    status: CheckStatus
    reason: str = ""
    message: str = ""
    action: str = ""


OK: Final = Verdict(PASS)


@dataclass(frozen=True, slots=True)
class Subject:
    """What the platform's checks look at; ``clock`` is the wall clock."""

    settings: Settings
    db: Db
    redis: RedisCounts | None
    clock: Callable[[], datetime]
