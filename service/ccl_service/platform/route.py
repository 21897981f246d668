"""One row of the route table: what a caller must show, how often and how much they may send, who goes first.

Rows are data. Enforcing them is ``platform.middleware``'s business, describing them ``platform.openapi``'s.
"""

from dataclasses import KW_ONLY, dataclass
from enum import StrEnum
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler
from pydantic import BaseModel

from ccl_service.platform.json_input import MAX_DEPTH
from ccl_service.platform.limits import LimitClass
from ccl_service.platform.problems import CclError

JSON: Final = "application/json"
#: JSON is read as a whole, and while it is decoded nobody else is served.
JSON_BYTES: Final = 262_144
EVENT_STREAM: Final = "text/event-stream"
#: A path's ``{id}`` in the one form of UUIDs that the service writes.
_ID: Final = "{id:[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}}"


class Auth(StrEnum):
    """What a caller must show."""

    #: Nothing. A valid key is recognised all the same, so that a handler may show more to its holder.
    PUBLIC = "public"
    #: The root key, the monitor token, or a scoped key; the last two need the route's scope.
    KEY = "key"
    #: The root key and nothing else.
    ROOT_KEY = "root_key"
    #: The token of a conversation.
    VISITOR = "visitor"
    #: The handler verifies a signature of the sender's; nobody is let in by the middleware.
    SIGNATURE = "signature"


class Scope(StrEnum):
    """What a key may be allowed to do. A scope stands for itself; none includes another."""

    LEADS_READ = "leads:read"
    LEADS_WRITE = "leads:write"
    LEADS_IMPORT = "leads:import"
    MONITORING_READ = "monitoring:read"
    MONITORING_SHED = "monitoring:shed"
    METRICS_SCRAPE = "metrics:scrape"
    AUDIT_READ = "audit:read"


class Priority(StrEnum):
    """Which requests are turned away first when there is more work than time (``platform.shedding`` orders them)."""

    #: Never turned away: liveness, readiness, health.
    PROBE = "probe"
    #: A person who leaves their data now, or acts on a mail: lost if refused.
    INTAKE = "intake"
    #: A visitor in a conversation.
    CHAT = "chat"
    #: Another system that tries again.
    WEBHOOK = "webhook"
    #: People and programs that look something up, and the settings they change.
    READ = "read"
    #: Long lists, imports and exports, which can wait.
    EXPORT = "export"


@dataclass(frozen=True, slots=True)
class Header:
    """A header that a route reads or sends: its name, what it means, a value it may have, and the form of them all."""

    name: str
    meaning: str
    example: str
    pattern: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """One way in which a route answers that is no problem document.

    ``model`` is that of JSON, or of the events of a stream. ``example`` shows what a text looks like.
    """

    status: int = 200
    model: type[BaseModel] | None = None
    produces: str = JSON
    example: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """Where a caller may go on from a successful answer: the row at ``method`` and ``path``.

    ``parameters``: those of that row, and where in the answer they stand (OpenAPI 3.1, Runtime Expressions).
    """

    method: str
    path: str
    parameters: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Route:
    """One row of the table.

    ``body``, ``query``, ``headers`` (those it reads), ``sends`` (those of success, beyond what every answer has),
    ``response``, ``status`` (of success), ``also`` (its other answers), ``links``, ``errors`` (those of its own, beyond
    what its policy implies), the media types and ``summary`` make the OpenAPI document; the handler parses with
    ``parse_json`` and ``parse_query``. ``body_example`` and ``example`` show bodies and answers that are texts.
    ``body_limit`` in bytes is explained at ``largest_body``. ``body_depth`` is how many objects and arrays of JSON may
    stand in each other: as many as in ``body`` and one more, so that a list in the place of a text is refused as that
    field's; ``MAX_DEPTH`` where others choose what stands there. ``audit`` is the action that the audit trail records.
    """

    method: str
    path: str
    handler: Handler
    auth: Auth
    limit: LimitClass
    _: KW_ONLY
    priority: Priority
    scope: Scope | None = None
    audit: str | None = None
    body_limit: int | None = None
    body_depth: int = MAX_DEPTH
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    headers: tuple[Header, ...] = ()
    sends: tuple[Header, ...] = ()
    response: type[BaseModel] | None = None
    status: int = 200
    consumes: str = JSON
    produces: str = JSON
    body_example: str = ""
    example: str = ""
    also: tuple[Answer, ...] = ()
    links: tuple[Link, ...] = ()
    errors: tuple[type[CclError], ...] = ()
    summary: str = ""

    def __post_init__(self) -> None:
        """Raises ValueError for a row without a policy, or with one that contradicts itself."""
        where = f"{self.method} {self.path}"
        policy = (self.auth, Auth), (self.limit, LimitClass), (self.priority, Priority)
        if not all(isinstance(value, kind) for value, kind in policy):
            raise ValueError(f"{where} has no policy")
        if (self.auth is Auth.KEY) != isinstance(self.scope, Scope):
            raise ValueError(f"{where} has no policy: a scope goes with Auth.KEY and with nothing else")

    @property
    def methods(self) -> tuple[str, ...]:
        """Those it is served under. Load balancers ask probes with HEAD: GET without the body (RFC 9110, 9.3.2)."""
        return ("GET", "HEAD") if self.method == "GET" and self.priority is Priority.PROBE else (self.method,)

    @property
    def template(self) -> str:
        """The path for the router. What is no id leads nowhere: ``/things/{id}`` leaves ``/things/new`` alone."""
        return self.path.replace("{id}", _ID)

    @property
    def answers(self) -> tuple[Answer, ...]:
        """Every answer that is no problem, the usual one first."""
        return (Answer(self.status, self.response, self.produces, self.example), *self.also)


def largest_body(row: Route, body_limit_bytes: int) -> int:
    """Bytes that this row takes: its own limit, ``JSON_BYTES`` without one, and never more than the setting.

    What is no JSON is not held in memory as a whole, and has a limit of its own that replaces the setting.
    """
    if row.consumes != JSON and row.body_limit is not None:
        return row.body_limit
    return min(row.body_limit or JSON_BYTES, body_limit_bytes)


ROUTE: Final = web.RequestKey("route", Route)
