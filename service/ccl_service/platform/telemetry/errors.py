"""Errors to Sentry, or to whatever speaks its protocol. Nothing here is imported before SENTRY_DSN is set.

Reports are put together here, from what a log line may show, and not by the SDK's integrations: those collect headers,
bodies, local variables and messages of libraries. The SDK sends them, in the background.
"""

from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any, Final

from ccl_service.platform.telemetry import redaction

if TYPE_CHECKING:
    from sentry_sdk import Client
    from sentry_sdk._types import Event

FLUSH_SECONDS: Final = 2.0
#: Fields of a line by which reports can be searched.
TAGS: Final = frozenset({"action", "code", "request_id", "trace_id", "principal", "worker", "table", "check", "queue"})


class ErrorReporter:
    """A ``logs.Reporter``. ``close`` sends what is left."""

    def __init__(self, client: "Client") -> None:
        self._client = client

    def __call__(self, exc: BaseException, line: MutableMapping[str, Any]) -> None:
        """Report an exception that was logged with ``line``, which has been redacted."""
        self._client.capture_event(report(exc, line))

    def close(self) -> None:
        """Send what is left, for two seconds at most."""
        self._client.close(timeout=FLUSH_SECONDS)


def report(exc: BaseException, line: MutableMapping[str, Any]) -> "Event":
    """The report: types, places, our own messages, tags; causes before what they caused, as Sentry wants them."""
    values = [
        {
            "type": one["type"].rpartition(".")[2],
            "module": one["type"].rpartition(".")[0],
            "value": one.get("message", ""),
            "stacktrace": {"frames": [_frame(place) for place in one["frames"]]},
        }
        for one in reversed(redaction.describe(exc))
    ]
    tags = {name: str(value) for name, value in line.items() if name in TAGS and value is not None}
    return {
        "level": "error",
        "logger": "ccl",
        "message": str(line.get("event", "")),
        "exception": {"values": values},
        "tags": tags,
    }


def _frame(place: str) -> dict[str, Any]:
    """``module:line function`` in Sentry's words."""
    where, _, function = place.partition(" ")
    module, _, line = where.rpartition(":")
    frame: dict[str, Any] = {"module": module or where, "function": function, "in_app": module.startswith("ccl_")}
    return frame | ({"lineno": int(line)} if line.isdigit() else {})


def open_reporter(dsn: str, *, environment: str, version: str, pod: str) -> ErrorReporter:
    """A reporter to ``dsn``."""
    from sentry_sdk import Client  # noqa: PLC0415 - see the module's docstring

    return ErrorReporter(
        Client(
            dsn=dsn,
            environment=environment,
            release=version,
            server_name=pod or "ccl",
            default_integrations=False,
            auto_enabling_integrations=False,
            include_local_variables=False,
            max_breadcrumbs=0,
            send_client_reports=False,
            auto_session_tracking=False,
            shutdown_timeout=FLUSH_SECONDS,
        )
    )
