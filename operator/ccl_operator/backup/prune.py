"""Removal of what retention no longer keeps. The decision is ``retention``'s; here it is carried out and told."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from ccl_operator.backup.destination import FolderDestination
from ccl_operator.backup.failure import StepFailed
from ccl_operator.backup.progress import Say
from ccl_operator.backup.retention import SetState, decide, stale_uploads


@dataclass(frozen=True)
class Pruned:
    """Ids kept and removed, newest first; ``trouble`` is empty when there was none."""

    kept: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    trouble: str = ""


def prune(
    destination: FolderDestination,
    *,
    keep_last: int,
    now: datetime,
    say: Say,
    protected: frozenset[str] = frozenset(),
    dry_run: bool = False,
) -> Pruned:
    """Apply the retention. Never raises for a destination that refuses: that is ``trouble``, told and reported."""
    try:
        found = destination.sets()
    except StepFailed as exc:
        return _told(Pruned(trouble=f"prune: {exc}"), say)
    verdict = decide((item.record for item in found), keep_last=keep_last, now=now, protected=protected)
    removed, problems = ((), []) if dry_run else _remove(destination, verdict.removed, say)
    if dry_run:
        for identifier in verdict.removed:
            say(f"prune: {identifier} would be removed")
    damaged = [item.record.id for item in found if item.record.state is SetState.DAMAGED]
    if damaged:
        problems.append(f"damaged and therefore kept: {', '.join(damaged)}")
    trouble = f"prune: {'; '.join(problems)}" if problems else ""
    return _told(Pruned(verdict.kept, verdict.removed if dry_run else removed, trouble), say)


def remove_stale_uploads(destination: FolderDestination, *, now: datetime, say: Say) -> None:
    """Remove the unfinished sets of killed backups. Raises StepFailed."""
    _, problems = _remove(destination, stale_uploads((item.record for item in destination.sets()), now), say)
    for problem in problems:
        say(f"prune: {problem}")


def _remove(destination: FolderDestination, ids: Iterable[str], say: Say) -> tuple[tuple[str, ...], list[str]]:
    removed, problems = [], []
    for identifier in ids:
        try:
            destination.remove(identifier)
        except StepFailed as exc:
            problems.append(str(exc))
        else:
            removed.append(identifier)
            say(f"prune: {identifier} removed")
    return tuple(removed), problems


def _told(outcome: Pruned, say: Say) -> Pruned:
    if outcome.trouble:
        say(outcome.trouble)
    return outcome
