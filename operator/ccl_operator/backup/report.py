"""The report's way out of the pod: the termination message, which Kubernetes shows in the container's status."""

from pathlib import Path
from typing import Final

from ccl_contract.backup import REPORT_MAX_BYTES, BackupReport

#: kubernetes.io, "Customizing the termination message"; absent outside a cluster.
TERMINATION_LOG: Final = Path("/dev/termination-log")


def render(report: BackupReport) -> bytes:
    """The report as JSON of at most ``REPORT_MAX_BYTES``; the message gives way, nothing else does."""
    text = report.message
    while len(body := report.model_copy(update={"message": text}).model_dump_json().encode()) > REPORT_MAX_BYTES:
        text = text[: len(text) * 3 // 4]
    return body


def write(report: BackupReport, path: Path | None) -> Path | None:
    """Write the report to ``path``, or to the termination log where there is one. Returns where it went.

    Raises OSError.
    """
    target = path or (TERMINATION_LOG if TERMINATION_LOG.exists() else None)
    if target is not None:
        target.write_bytes(render(report))
    return target
