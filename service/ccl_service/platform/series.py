"""The metrics whose history is kept: where each is read from, and how processes and minutes become one point. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final


class Kind(StrEnum):
    """How minutes and processes become one point of a step."""

    #: Everything added, by all processes.
    SUM = "sum"
    #: All processes together, on average over the step.
    MEAN = "mean"
    #: The largest of any process at any minute.
    MAX = "max"
    #: One series over another.
    RATIO = "ratio"
    #: Of all answers of the step.
    PERCENTILE = "percentile"


@dataclass(frozen=True, slots=True)
class Series:
    """A metric of the history. ``sample`` is the Prometheus sample it comes from, ``where`` a test of its labels."""

    kind: Kind
    unit: str
    sample: str = ""
    where: tuple[tuple[str, str], ...] = ()
    #: For percentiles the fraction in percent.
    percent: int = 0

    def read(self, samples: Sequence[Mapping[str, Any]]) -> float:
        """The sum of the samples that match; a ``where`` value matches by its beginning."""
        return sum(
            float(s["value"])
            for s in samples
            if s["name"] == self.sample and all(s["labels"].get(k, "").startswith(v) for k, v in self.where)
        )


def _sum(sample: str, unit: str, **where: str) -> Series:
    return Series(Kind.SUM, unit, sample, tuple(where.items()))


#: Everything that the history knows, by name.
SERIES: Final[Mapping[str, Series]] = {
    "requests": _sum("ccl_http_requests_total", "requests"),
    "errors": _sum("ccl_http_requests_total", "requests", status="5"),
    "error_rate": Series(Kind.RATIO, "ratio"),
    "p50_ms": Series(Kind.PERCENTILE, "ms", percent=50),
    "p95_ms": Series(Kind.PERCENTILE, "ms", percent=95),
    "p99_ms": Series(Kind.PERCENTILE, "ms", percent=99),
    "limited": _sum("ccl_http_limited_total", "requests"),
    "db_failures": _sum("ccl_db_failures_total", "statements"),
    "leads_created": _sum("ccl_leads_created_total", "leads"),
    "first_contacts": _sum("ccl_first_contacts_total", "leads"),
    "sends_accepted": _sum("ccl_sends_total", "sends", state="accepted"),
    "sends_delivered": _sum("ccl_sends_total", "sends", state="delivered"),
    "sends_bounced": _sum("ccl_sends_total", "sends", state="bounced"),
    "opt_outs": _sum("ccl_opt_outs_total", "people"),
    "chat_turns": _sum("ccl_chat_turns_total", "turns"),
    "import_rows": _sum("ccl_import_rows_total", "rows"),
    "model_cost_usd": _sum("ccl_provider_cost_usd_total", "USD"),
    "cpu_seconds": _sum("process_cpu_seconds_total", "s"),
    "memory_bytes": Series(Kind.MEAN, "bytes", "process_resident_memory_bytes"),
    "db_connections_in_use": Series(Kind.MEAN, "connections", "ccl_db_connections_in_use"),
    "work_due": Series(Kind.MAX, "rows", "ccl_work_due"),
    "work_in_quarantine": Series(Kind.MAX, "rows", "ccl_work_in_quarantine"),
}
#: Numerator and denominator.
RATIOS: Final[Mapping[str, tuple[str, str]]] = {"error_rate": ("errors", "requests")}
