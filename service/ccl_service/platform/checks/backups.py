"""Whether backups are fresh, for a process that is told where they lie. What is in them is the operator's business."""

import asyncio
from datetime import datetime, timedelta
from pathlib import Path

from ccl_contract.backup import MANIFEST, Manifest, taken_at
from ccl_service.platform.checks.verdict import OK, PASS, WARN, Subject, Verdict

LOOK = "look at the last backup Job, and at docs/runbooks/backup.md"


async def backups_fresh(subject: Subject) -> Verdict:
    """The newest set's age. Never more than a warning: a first version starts before there is anything to back up."""
    folder = subject.settings.backup_manifest_dir
    if folder is None:
        message = "BACKUP_MANIFEST_DIR is unset; where the operator takes the backups, it judges them itself"
        return Verdict(PASS, "NotConfigured", message)
    try:
        manifest = await asyncio.to_thread(newest, folder)
    except OSError:
        return Verdict(WARN, "Unreadable", "BACKUP_MANIFEST_DIR cannot be read", "mount the volume, read-only will do")
    except ValueError:
        return Verdict(WARN, "Broken", "the newest backup's manifest cannot be read", LOOK)
    allowed = timedelta(hours=subject.settings.backup_max_age_hours)
    return age_verdict(manifest, now=subject.clock(), allowed=allowed)


def newest(folder: Path) -> Manifest | None:
    """The manifest of the newest published set; None when there is none.

    Raises OSError for a folder or file that cannot be read, ValueError for a manifest that is none.
    """
    sets = [entry for entry in folder.iterdir() if _is_set(entry.name) and (entry / MANIFEST).is_file()]
    if not sets:
        return None
    return Manifest.model_validate_json((max(sets, key=lambda entry: entry.name) / MANIFEST).read_bytes())


def _is_set(name: str) -> bool:
    try:
        taken_at(name)
    except ValueError:
        return False
    return True


def age_verdict(manifest: Manifest | None, *, now: datetime, allowed: timedelta) -> Verdict:
    """What is younger than the snapshot is not in the backup, so its start counts."""
    if manifest is None:
        return Verdict(WARN, "NoBackup", "there is no backup yet", LOOK)
    hours = (now - manifest.started_at) / timedelta(hours=1)
    if now - manifest.started_at <= allowed:
        return OK
    message = f"the newest backup is {hours:.0f} h old; BACKUP_MAX_AGE_HOURS allows {allowed / timedelta(hours=1):g} h"
    return Verdict(WARN, "Stale", message, LOOK)
