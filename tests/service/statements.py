"""Which statements a pool has run."""

from typing import Any

from ccl_service.platform.telemetry.pool import statement_name


class Statements:
    """A ``PoolWatch`` that notes their names."""

    def __init__(self) -> None:
        self.ran: list[str] = []

    def waited(self, seconds: float) -> None:
        """See ``PoolWatch``."""

    def failed(self, code: str) -> None:
        """See ``PoolWatch``."""

    def opened(self, con: Any) -> None:
        """See ``PoolWatch``."""
        con.add_query_logger(lambda ran: self.ran.append(statement_name(ran.query)))
