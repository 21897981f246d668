"""Probes, metrics, settings: how the service is."""

from typing import Annotated

from pydantic import Field, TypeAdapter

from ccl_contract.readiness import ReadinessReport
from ccl_service.client.transport import ANSWER, Request, Transport, operation
from ccl_service.platform.config_view import ConfigView
from ccl_service.platform.views import (
    HealthView,
    HistoryQuery,
    HistoryView,
    Live,
    MetricsView,
    NotReady,
    PerformanceView,
    ProfileQuery,
    ReadinessSummary,
    Ready,
    Shedding,
    ShedQuery,
)

BASE = "api/monitoring"

_UNFIT = frozenset({503})
_READINESS = TypeAdapter[ReadinessSummary | ReadinessReport](
    Annotated[ReadinessSummary | ReadinessReport, Field(union_mode="left_to_right")]
)
_READY = TypeAdapter[Ready | NotReady](Ready | NotReady)


class Monitoring:
    """Probes need no key; the rest needs monitoring:read, where nothing else is said."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    @operation("get_live", "get_api_monitoring_live")
    async def live(self) -> Live:
        """Whether the process turns."""
        return await self._transport.json(Live, Request("GET", f"{BASE}/live"))

    @operation("get_ready", "get_api_monitoring_ready")
    async def ready(self) -> Ready | NotReady:
        """Whether the process takes requests, and why not."""
        return _READY.validate_json(await self._transport.body(Request("GET", f"{BASE}/ready", answers=_UNFIT)))

    @operation("get_health", "get_api_monitoring_health")
    async def health(self) -> HealthView:
        """Every component's state; with a key the details."""
        return await self._transport.json(HealthView, Request("GET", f"{BASE}/health", answers=_UNFIT))

    @operation("get_api_monitoring_production_readiness")
    async def production_readiness(self) -> ReadinessSummary | ReadinessReport:
        """Whether the process is fit for production; without a key the summary."""
        return _READINESS.validate_json(await self._transport.body(Request("GET", f"{BASE}/production-readiness")))

    @operation("get_api_monitoring_config")
    async def config(self) -> ConfigView:
        """The settings in force, secrets masked."""
        return await self._transport.json(ConfigView, Request("GET", f"{BASE}/config"))

    @operation("get_api_monitoring_metrics")
    async def metrics(self) -> MetricsView:
        """The process's metrics."""
        return await self._transport.json(MetricsView, Request("GET", f"{BASE}/metrics"))

    @operation("get_api_monitoring_metrics_prometheus")
    async def prometheus(self) -> str:
        """The same in Prometheus' format. Needs metrics:scrape."""
        return await self._transport.text(Request("GET", f"{BASE}/metrics/prometheus"))

    @operation("get_api_monitoring_performance")
    async def performance(self) -> PerformanceView:
        """Rates, errors and percentiles of process and fleet."""
        return await self._transport.json(PerformanceView, Request("GET", f"{BASE}/performance"))

    @operation("get_api_monitoring_history")
    async def history(self, query: HistoryQuery) -> HistoryView:
        """One metric of the fleet over time."""
        return await self._transport.json(HistoryView, Request("GET", f"{BASE}/history", query=query))

    @operation("get_api_monitoring_profile")
    async def profile(self, query: ProfileQuery | None = None) -> str:
        """What the process does for some seconds: a page, or JSON for speedscope. Needs the root key."""
        asked = query or ProfileQuery()
        request = Request("GET", f"{BASE}/profile", query=asked, seconds=asked.seconds + ANSWER)
        return await self._transport.text(request)

    @operation("post_api_monitoring_shed")
    async def shed(self, query: ShedQuery | None = None) -> Shedding:
        """Send the process's callers to other ones."""
        return await self._transport.json(Shedding, Request("POST", f"{BASE}/shed", query=query, repeatable=True))
