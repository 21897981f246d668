"""What the backup Jobs have reported: the last good one, failures since, and the condition BackupHealthy. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pydantic import ValidationError

from ccl_contract.backup import BackupReport
from ccl_operator import inventory, names
from ccl_operator.actions import Manifest
from ccl_operator.api.status import BackupStatus, whole_second
from ccl_operator.inventory import Inventory

#: How long a Job's end may be known before its pod's report is; after that there is none.
REPORT_LAG: Final = timedelta(seconds=30)


@dataclass(frozen=True)
class Verdict:
    """A condition's status, reason and message."""

    status: str
    reason: str
    message: str


@dataclass(frozen=True)
class BackupHealth:
    """``verdict`` is None when nothing new was learned; ``wake_at`` when a report is awaited."""

    status: BackupStatus
    verdict: Verdict | None = None
    wake_at: datetime | None = None


def assess(found: Inventory, known: BackupStatus, instance: str, now: datetime) -> BackupHealth:
    """Count the Jobs that ended since the last look, oldest first. A Job whose report is on its way, and those that
    ended after it, are left for the next look."""
    health = BackupHealth(known)
    for finished, job in _ended_since(found, known):
        report = _report(found, job)
        if report is None and now - finished < REPORT_LAG:
            return BackupHealth(health.status, health.verdict, finished + REPORT_LAG)
        health = _count(health.status, job, finished, report, instance)
    return health


def _ended_since(found: Inventory, known: BackupStatus) -> list[tuple[datetime, Manifest]]:
    ended: list[tuple[datetime, Manifest]] = []
    last = (known.last_finished, known.last_job or "") if known.last_finished else None
    for job in found.all(names.JOB, component=names.BACKUP):
        finished = _finished(job)
        # Several Jobs may end in one second, so the uid orders them too; else two would be counted in turn for ever.
        if finished and (last is None or (finished, job["metadata"]["uid"]) > last):
            ended.append((finished, job))
    return sorted(ended, key=lambda each: (each[0], each[1]["metadata"]["uid"]))


def _finished(job: Manifest) -> datetime | None:
    for kind in ("Complete", "Failed"):
        condition = inventory.condition(job, kind)
        if condition is not None and condition["status"] == "True":
            return inventory.moment(condition.get("lastTransitionTime"))
    return None


def _report(found: Inventory, job: Manifest) -> BackupReport | None:
    for message in inventory.termination_messages(found.pods(names.BACKUP), job["metadata"]["uid"]):
        try:
            return BackupReport.model_validate_json(message)
        except ValidationError:
            continue
    return None


def _count(
    known: BackupStatus, job: Manifest, finished: datetime, report: BackupReport | None, instance: str
) -> BackupHealth:
    counted = {"last_job": job["metadata"]["uid"], "last_finished": whole_second(finished)}
    if report is None:
        why = f"Job {inventory.name_of(job)} left no report: {_reason(job)}"
        failed = not inventory.is_true(job, "Complete")
        status = known.model_copy(update={**counted, "failures": known.failures + int(failed)})
        return BackupHealth(status, Verdict("Unknown", "BackupUnreported", why))
    if not report.ok:
        why = f"Job {inventory.name_of(job)} failed at {report.stage}: {report.message}"
        status = known.model_copy(update={**counted, "failures": known.failures + 1})
        return BackupHealth(status, Verdict("False", "BackupFailed", why))
    location = f"pvc/{names.backups(instance)}/{report.id}"
    good = {
        "last_success": whole_second(report.finished_at or finished),
        "last_size": report.size_bytes,
        "location": location,
        "failures": 0,
    }
    told = f"{report.tables} tables, {report.rows} rows, {report.size_bytes} bytes, read back"
    return BackupHealth(
        known.model_copy(update={**counted, **good}),
        # The volume shares its failure domain with the database; whoever reads the reason shall know.
        Verdict("True", "SameFailureDomain", f"{location}: {told}; a volume beside the database does not survive it"),
    )


def _reason(job: Manifest) -> str:
    failed = inventory.condition(job, "Failed") or {}
    return str(failed.get("reason") or "its pod is gone")
