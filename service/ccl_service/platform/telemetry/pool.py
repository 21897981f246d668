"""How the database's pool fares, as metrics and, where spans are exported, one for each statement by its name."""

import re
from typing import TYPE_CHECKING, Any, Final

from ccl_service.platform.telemetry.metrics import Metrics
from ccl_service.platform.telemetry.tracing import Tracer

if TYPE_CHECKING:
    import asyncpg

#: The name in "-- name: purpose", with which every statement of ours begins.
_NAME: Final = re.compile(r"\s*--\s*(\w+)")


class MeasuredPool:
    """A ``PoolWatch``."""

    def __init__(self, metrics: Metrics, tracer: Tracer | None = None) -> None:
        self._metrics, self._tracer = metrics, tracer

    def waited(self, seconds: float) -> None:
        """See ``PoolWatch``."""
        self._metrics.observe("ccl_db_wait_seconds", seconds)

    def failed(self, code: str) -> None:
        """See ``PoolWatch``."""
        self._metrics.count("ccl_db_failures", code)

    def opened(self, con: "asyncpg.Connection[Any]") -> None:
        """See ``PoolWatch``. Statements are watched only where somebody wants to know."""
        if self._tracer:
            con.add_query_logger(self._ran)

    def _ran(self, ran: Any) -> None:
        """A statement has ended; ``ran`` is asyncpg's LoggedQuery, whose arguments are left alone."""
        if self._tracer:
            name = statement_name(ran.query)
            attributes = {"db.system.name": "postgresql", "db.operation.name": name}
            self._tracer.child(f"db {name}", ran.elapsed, attributes, failed=ran.exception is not None)


def statement_name(query: str) -> str:
    """The statement's own name, else its first word: BEGIN, COMMIT."""
    found = _NAME.match(query)
    if found:
        return found[1]
    first = query.split(None, 1)[:1]
    return first[0].rstrip(";")[:20] if first else "?"
