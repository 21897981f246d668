"""The bounds that a deployment sets its callers: how often they may call, and how much they may send at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from ccl_service.platform.config import Settings
from ccl_service.platform.limits import Limit, LimitClass

_MINUTE: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Bounds:
    """``limits`` by class; ``body_bytes`` is what a body may have where its route says nothing else."""

    limits: Mapping[LimitClass, Limit]
    body_bytes: int


def bounds(settings: Settings) -> Bounds:
    """Those of a configuration."""
    return _bounds(settings.rate_limit_max_requests, settings.rate_limit_window_ms, settings.body_limit_bytes)


def default_bounds() -> Bounds:
    """Those of a deployment that sets none of the variables."""
    fields = Settings.model_fields
    names = ("rate_limit_max_requests", "rate_limit_window_ms", "body_limit_bytes")
    return _bounds(*(fields[name].default for name in names))


def _bounds(most: int, window_ms: int, body_bytes: int) -> Bounds:
    default = Limit(most, timedelta(milliseconds=window_ms))
    limits = {
        LimitClass.DEFAULT: default,
        LimitClass.FAILURES: default,
        LimitClass.MONITORING: Limit(120, _MINUTE),
        LimitClass.CHAT: Limit(60, _MINUTE),
        LimitClass.CHAT_ADDRESS: Limit(600, _MINUTE),
        LimitClass.CHAT_OPENING: Limit(30, _MINUTE),
    }
    return Bounds(limits, body_bytes)
