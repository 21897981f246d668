"""What asyncpg raises, in the service's own errors: the border at which a driver's error is translated, once."""

import contextlib
import ssl
from collections.abc import Iterator, Mapping
from typing import Final

import asyncpg

from ccl_service.platform.problems import (
    CclError,
    ConstraintViolated,
    DatabaseUnavailable,
    StatementAborted,
    ValueRefused,
)

_KINDS: Final[Mapping[type[Exception], str]] = {
    asyncpg.UniqueViolationError: "unique",
    asyncpg.ForeignKeyViolationError: "foreign_key",
    asyncpg.CheckViolationError: "check",
    asyncpg.NotNullViolationError: "not_null",
    asyncpg.ExclusionViolationError: "exclusion",
}
_AGAIN: Final = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
)
#: Values that no column can hold: text with NUL, a moment out of range, an entry too large for its index.
_VALUES: Final = (asyncpg.DataError, asyncpg.ProgramLimitExceededError)
_AWAY: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.TooManyConnectionsError,
    asyncpg.OperatorInterventionError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    ConnectionError,
    TimeoutError,
    OSError,
    ssl.SSLError,
)


#: The connection ended under its statement: a pooler or server that is being replaced says good-bye like this.
_LOST: Final = (
    asyncpg.ConnectionDoesNotExistError,
    asyncpg.ConnectionFailureError,
    asyncpg.AdminShutdownError,
    ConnectionResetError,
    BrokenPipeError,
)


#: Everything that the driver raises.
DRIVER_ERRORS: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)


class ConnectionLost(DatabaseUnavailable):
    """The connection ended; whether the statement ran is not known."""


def _said_good_bye(exc: BaseException) -> bool:
    """Whether the connection had ended before the statement. asyncpg has no class of its own for it."""
    if isinstance(exc, asyncpg.InterfaceError):
        return "clos" in str(exc)  # "connection is closed", "pool is closing"
    # the server ended an idle connection, and what it said last has been read, but not yet the end itself
    return isinstance(exc, asyncpg.InternalClientError) and "another operation" in str(exc)


def translate(exc: BaseException) -> CclError | None:
    """The service's error for one of the driver's; None for what is a bug in a statement."""
    for kind, name in _KINDS.items():
        if isinstance(exc, kind):
            return ConstraintViolated(getattr(exc, "constraint_name", None) or "?", name)
    if isinstance(exc, _VALUES) or (isinstance(exc, asyncpg.InterfaceError) and isinstance(exc, ValueError)):
        # the latter: the driver itself cannot put the value into the column's type
        return ValueRefused()
    if isinstance(exc, _AGAIN):
        return StatementAborted()
    if isinstance(exc, _LOST) or _said_good_bye(exc):
        return ConnectionLost()
    if isinstance(exc, _AWAY):
        return DatabaseUnavailable()
    return None


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Let only our own errors out."""
    try:
        yield
    except DRIVER_ERRORS as exc:
        error = translate(exc)
        if error is None:
            raise
        raise error from exc
