"""What the platform's own routes take and answer: probes, monitoring, problems. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from ccl_contract.readiness import CheckStatus
from ccl_service.platform.breaker import State
from ccl_service.platform.fields import Count, Instant, Milliseconds, Seconds
from ccl_service.platform.phase import Role
from ccl_service.platform.profiler import LONGEST_SECONDS, Format
from ccl_service.platform.series import SERIES, Kind

#: Points that one answer of the history may hold.
MOST_POINTS: Final = 1500

_Revision = Annotated[str, Field(examples=["ccl-7f9c4d"])]
_Version = Annotated[str, Field(examples=["0.1.0"])]
_Pod = Annotated[str, Field(examples=["ccl-web-7f9c4d-x2x5k"])]
_Statement = Annotated[str, Field(examples=["lead_page"])]
_Bytes = Annotated[int, Field(ge=0, examples=[81920])]
_Ratio = Annotated[float, Field(ge=0, examples=[0.01])]


class _Query(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class _View(BaseModel):
    model_config = ConfigDict(frozen=True)


class Live(_View):
    """The process turns."""

    status: Literal["live"] = "live"


class Ready(_View):
    """The process takes requests."""

    status: Literal["ready"] = "ready"


class NotReady(_View):
    """The process takes none, and why."""

    status: Literal["not ready"] = "not ready"
    reason: Annotated[str, Field(examples=["Draining"])]


class PoolView(_View):
    """The pool of database connections."""

    in_use: Count
    size: Count
    waiting: Count


class DepthView(_View):
    """Rows of one table of work that are due, worked and given up, and how long the oldest due one has waited."""

    due: Count
    leased: Count
    quarantined: Count
    oldest_due_s: Seconds


class ComponentView(_View):
    """One component; all but ``state`` is for keys, and there where it applies.

    ``reason`` is the database's; ``breaker`` and ``last_outcome`` are a provider's; ``tables`` are those of work.
    """

    state: Literal["up", "down", "incompatible", "degraded", "unused"]
    latency_ms: Milliseconds | None = None
    age_s: Seconds | None = None
    reason: Annotated[str, Field(examples=["DatabaseUnreachable"])] | None = None
    pool: PoolView | None = None
    breaker: State | None = None
    last_outcome: Annotated[str, Field(examples=["accepted"])] | None = None
    tables: dict[str, DepthView] | None = None


class HealthView(_View):
    """The process and what it stands on, by name. Without a key the states of database and Redis only."""

    status: Literal["healthy", "degraded", "unhealthy", "draining"]
    components: dict[str, ComponentView]
    version: _Version | None = None
    revision: _Revision | None = None
    role: Role | None = None
    environment: Annotated[str, Field(examples=["production"])] | None = None
    uptime_s: Seconds | None = None


class ReadinessSummary(_View):
    """What strangers learn of the production readiness: the verdict, and how many checks said what."""

    v: Literal[1] = 1
    status: CheckStatus
    counts: dict[CheckStatus, Count]


class SampleView(_View):
    """One sample, as Prometheus knows it. A ``value`` that is not finite, which JSON cannot say, is null."""

    name: Annotated[str, Field(examples=["ccl_http_requests_total"])]
    labels: Annotated[dict[str, str], Field(examples=[{"method": "GET", "route": "/live", "status": "200"}])]
    value: Annotated[float, Field(examples=[17.0])] | None


class MetricsView(_View):
    """This process's metrics."""

    at: datetime
    uptime_s: Seconds
    metrics: list[SampleView]


class Figures(_View):
    """Requests, errors (5xx), their rate, and percentiles; null where nothing was answered."""

    requests: Count
    errors: Count
    error_rate: _Ratio | None
    p50_ms: Milliseconds | None
    p95_ms: Milliseconds | None
    p99_ms: Milliseconds | None


class RouteFigures(Figures):
    """Those of one route, by its template."""

    method: Annotated[str, Field(examples=["GET"])]
    route: Annotated[str, Field(examples=["/api/leads/{id}"])]


class WindowView(Figures):
    """The last ``minutes``: all routes together, and each."""

    minutes: Annotated[int, Field(examples=[5])]
    requests_per_s: Annotated[float, Field(ge=0, examples=[12.3])]
    routes: list[RouteFigures]


class WindowsView(_View):
    """Windows, shortest first."""

    windows: list[WindowView]


class InstanceView(_View):
    """A process that published its windows ``age_s`` ago; not ``counted`` when its version publishes another form."""

    pod: _Pod
    revision: _Revision
    role: Role
    age_s: Seconds
    counted: bool = True


class FleetView(WindowsView):
    """All live processes together."""

    instances: list[InstanceView]


class PercentileNote(_View):
    """What a reader has to know of the percentiles."""

    method: Annotated[str, Field(examples=["nearest rank in logarithmic buckets"])]
    relative_error: _Ratio


class ConnectionsView(_View):
    """The database's connections by state, and what keeps old row versions alive."""

    active: Count
    idle: Count
    idle_in_transaction: Count
    total: Count
    max: Count
    longest_transaction_s: Seconds
    longest_snapshot_s: Seconds
    oldest_snapshot_xids: Count


class SlowStatement(_View):
    """A statement that has been running for long; null for one that is not the service's."""

    pid: Annotated[int, Field(examples=[4711])]
    statement: _Statement | None
    seconds: Seconds
    wait_event_type: Annotated[str, Field(examples=["Lock"])] | None
    wait_event: Annotated[str, Field(examples=["transactionid"])] | None


class TableView(_View):
    """A table and what it wastes, by the database's statistics."""

    name: Annotated[str, Field(examples=["leads"])]
    bytes: _Bytes
    live_rows: Count
    dead_rows: Count
    dead_ratio: _Ratio
    dead_bytes: _Bytes
    vacuumed_at: datetime | None
    analyzed_at: datetime | None


class StatementView(_View):
    """Where the database's time goes."""

    statement: _Statement | None
    query_id: Annotated[str, Field(examples=["-4208623423423"])] | None
    calls: Count
    rows: Count
    total_ms: Milliseconds
    mean_ms: Milliseconds
    max_ms: Milliseconds


class DatabaseView(_View):
    """The database as its operators need to see it; ``statements`` is null without ``pg_stat_statements``."""

    connections: ConnectionsView | None
    slow: list[SlowStatement]
    slow_threshold_s: Seconds
    tables: list[TableView]
    statements: list[StatementView] | None


class PerformanceView(_View):
    """How fast and how well requests are answered. What ``unavailable`` names is null: the database did not answer."""

    at: datetime
    uptime_s: Seconds
    percentiles: PercentileNote
    process: WindowsView
    fleet: FleetView | None
    database: DatabaseView | None
    unavailable: list[Literal["fleet", "database"]]


_Since = Annotated[Instant, Field(examples=["2026-03-01T11:00:00Z"])]
_Until = Annotated[Instant, Field(examples=["2026-03-01T12:00:00Z"])]


def _known(metric: str) -> str:
    if metric not in SERIES:
        raise PydanticCustomError("metric", "is not one of {known}", {"known": ", ".join(SERIES)})
    return metric


class HistoryQuery(_Query):
    """Which metric, from when until when, and how many seconds make a point."""

    metric: Annotated[str, AfterValidator(_known), Field(json_schema_extra={"enum": list(SERIES)})]
    since: Annotated[_Since | None, Field(alias="from")] = None
    until: Annotated[_Until | None, Field(alias="to")] = None
    step: Annotated[int, Field(ge=60, le=86_400)] = 60


class PointView(_View):
    """``at``: the beginning of the step."""

    at: datetime
    value: Annotated[float, Field(examples=[12.0])]


class HistoryView(_View):
    """One metric of the fleet over time, oldest first; steps without data are left out."""

    metric: Annotated[str, Field(examples=["requests"])]
    unit: Annotated[str, Field(examples=["requests"])]
    aggregate: Kind
    since: Annotated[datetime, Field(alias="from")]
    until: Annotated[datetime, Field(alias="to")]
    step_s: Annotated[int, Field(examples=[60])]
    points: list[PointView]


class ProfileQuery(_Query):
    """How long, and in which form."""

    seconds: Annotated[int, Field(ge=1, le=LONGEST_SECONDS)] = 10
    format: Format = Format.HTML


class Speedscope(BaseModel):
    """A profile in the format of https://www.speedscope.app, which says what its parts mean."""

    model_config = ConfigDict(frozen=True, extra="allow")

    shared: Annotated[dict[str, Any], Field(examples=[{"frames": [{"name": "main", "file": "cli.py", "line": 1}]}])]
    profiles: Annotated[list[dict[str, Any]], Field(examples=[[{"type": "sampled", "name": "MainThread"}]])]


class ShedQuery(_Query):
    """For how many seconds callers are sent elsewhere."""

    seconds: Annotated[int, Field(ge=1, le=600)] = 60


class Shedding(_View):
    """What was asked for, and how many requests (streams and sockets among them) were open."""

    v: Literal[1] = 1
    seconds: Annotated[int, Field(examples=[60])]
    in_flight: Count


class ProblemView(_View):
    """A kind of problem. ``remedy``: what the caller does about it."""

    code: Annotated[str, Field(examples=["NOT_FOUND_001"])]
    status: Annotated[int, Field(examples=[404])]
    title: Annotated[str, Field(examples=["Not found"])]
    meaning: Annotated[str, Field(examples=["There is no such route or object, or it is somebody else's."])]
    remedy: Annotated[str, Field(examples=["Check the path and the id."])]
    retryable: bool


class ProblemList(_View):
    """All kinds, by code."""

    items: list[ProblemView]


class OpenApiDocument(BaseModel):
    """An OpenAPI 3.1 document."""

    model_config = ConfigDict(frozen=True, extra="allow")

    openapi: Literal["3.1.0"]
    info: Annotated[dict[str, Any], Field(examples=[{"title": "Complete Car Loans", "version": "0.1.0"}])]
    paths: Annotated[Mapping[str, Any], Field(examples=[{"/live": {"get": {"responses": {}}}}])]
    components: Annotated[dict[str, Any], Field(examples=[{"schemas": {}}])]
