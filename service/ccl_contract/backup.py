"""Backup sets: their names, their manifest, and what a backup Job reports.

A set lives under ``<id>/``; it exists only when ``<id>/manifest.json`` does, which is written last.
"""

import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Final

from pydantic import AwareDatetime, Field

from ccl_contract.document import Document, Part

DUMP: Final = "dump.pgc"
MANIFEST: Final = "manifest.json"
#: Kubernetes keeps 4096 bytes of a termination message; ours stays at half.
REPORT_MAX_BYTES: Final = 2048

_ID: Final = r"^\d{8}T\d{6}Z-[0-9a-f]{6}$"
BackupId = Annotated[str, Field(pattern=_ID)]


def backup_id(at: datetime, entropy: bytes) -> str:
    """``<UTC yyyymmddThhmmssZ>-<6 hex>``: sortable by time, unique by three random bytes."""
    return f"{at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{entropy[:3].hex()}"


def taken_at(identifier: str) -> datetime:
    """The instant a backup id names. Raises ValueError for anything that is no backup id."""
    if not re.match(_ID, identifier):
        raise ValueError(f"{identifier!r} is not a backup id")
    return datetime.strptime(identifier[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


class Table(Part):
    """One table of the dump's snapshot: ``schema.table`` and its rows."""

    name: str
    rows: int


class Manifest(Document):
    """``manifest.json``: sizes in bytes, ``lsn`` of the snapshot, sha256 as lower-case hex of the stored object.

    ``audit_head`` is where the audit chain ended in the snapshot (``ccl_contract.audit``); None without one.
    """

    id: BackupId
    started_at: AwareDatetime
    finished_at: AwareDatetime
    lsn: str
    server_version_num: int
    tool_version: str
    tables: tuple[Table, ...]
    sha256: str
    size_bytes: int
    encryption: None = None
    audit_head: str | None = None


class BackupStage(StrEnum):
    """The steps of a backup, in order; a failed report names the one it failed in."""

    SNAPSHOT = "snapshot"
    DUMP = "dump"
    READ_BACK = "read-back"
    PUBLISH = "publish"
    PRUNE = "prune"


class BackupReport(Document):
    """What a backup Job says in its termination message, at most ``REPORT_MAX_BYTES``."""

    id: str
    stage: BackupStage
    ok: bool
    message: str = Field(default="", max_length=1000)
    size_bytes: int = 0
    sha256: str = ""
    tables: int = 0
    rows: int = 0
    kept: int = 0
    pruned: int = 0
    finished_at: AwareDatetime | None = None
