"""What the process tells about itself: logs, metrics, windows of latencies. None of it holds personal data."""

from ccl_service.platform.telemetry.access import AccessLog, access_log
from ccl_service.platform.telemetry.context import CURRENT, RequestContext, parse_traceparent
from ccl_service.platform.telemetry.logs import LineSink, configure_logging
from ccl_service.platform.telemetry.metrics import Count, Metrics, uncounted

__all__ = [
    "CURRENT",
    "AccessLog",
    "Count",
    "LineSink",
    "Metrics",
    "RequestContext",
    "access_log",
    "configure_logging",
    "parse_traceparent",
    "uncounted",
]
