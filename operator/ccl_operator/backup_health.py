"""What the backup Jobs have reported: the last good one, failures since, and the condition BackupHealthy. Pure."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from pydantic import ValidationError

from ccl_contract.backup import BackupReport
from ccl_operator import inventory, names
from ccl_operator.actions import Manifest
from ccl_operator.api.status import BackupStatus, Condition, whole_second
from ccl_operator.api.v1alpha1 import Backup
from ccl_operator.backup_schedule import overdue_at
from ccl_operator.inventory import Inventory

#: How long a Job's end may be known before its pod's report is; after that there is none.
REPORT_LAG: Final = timedelta(seconds=30)
_OVERDUE: Final = "BackupOverdue"


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
    more = f"; {report.message}" if report.message else ""
    return BackupHealth(known.model_copy(update={**counted, **good}), _good(location, f"{told}{more}"))


def _good(location: str, told: str) -> Verdict:
    # The volume shares its failure domain with the database; whoever reads the reason shall know.
    return Verdict("True", "SameFailureDomain", f"{location}: {told}; a volume beside the database does not survive it")


def with_schedule(
    health: BackupHealth,
    found: Inventory,
    instance: str,
    wanted: Backup | None,
    *,
    told: Condition | None,
    now: datetime,
) -> BackupHealth:
    """What the schedule has to say to it: a backup that did not come is no silence. ``told``: the condition so far.

    A failure that is told already stays told; a success or another schedule ends the alarm.
    """
    if wanted is None:
        return replace(health, verdict=Verdict("Unknown", "NotAskedFor", "spec.backup is not set: no backups are made"))
    due = _due(health.status, found, instance, wanted)
    overdue = due is not None and due <= now
    if health.verdict is None and overdue and (told is None or told.status != "False"):
        return replace(health, verdict=_overdue(health.status, wanted))
    if health.verdict is None and not overdue and told is not None and told.reason in {_OVERDUE, "NotAskedFor"}:
        return replace(health, verdict=_last_good(health.status))
    if due is None or overdue:
        return health
    return replace(health, wake_at=min(due, health.wake_at or due))


def _due(known: BackupStatus, found: Inventory, instance: str, wanted: Backup) -> datetime | None:
    """When the alarm is due; the first backup is counted from the making of its CronJob."""
    cron_job = found.get(names.CRON_JOB, names.backup(instance))
    made = inventory.moment(cron_job["metadata"].get("creationTimestamp")) if cron_job else None
    since = max((each for each in (known.last_success, made) if each is not None), default=None)
    if since is None or wanted.suspend:
        return None
    return overdue_at(wanted.schedule, wanted.time_zone, since)


def _overdue(known: BackupStatus, wanted: Backup) -> Verdict:
    last = f"since {known.last_success:%Y-%m-%dT%H:%M:%SZ}" if known.last_success else "yet"
    schedule = f"the schedule is {wanted.schedule} in {wanted.time_zone}"
    return Verdict("False", _OVERDUE, f"no backup has succeeded {last}; {schedule}; look at the CronJob's Jobs")


def _last_good(known: BackupStatus) -> Verdict:
    if known.last_success is None:
        return Verdict("Unknown", "NoBackupYet", "no backup has been made yet")
    return _good(known.location or "", f"{known.last_size or 0} bytes, read back")


def _reason(job: Manifest) -> str:
    failed = inventory.condition(job, "Failed") or {}
    return str(failed.get("reason") or "its pod is gone")
