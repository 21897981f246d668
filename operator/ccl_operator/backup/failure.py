"""How a backup fails: one family of errors, each a sentence a person can act on. No message holds a password."""

from asyncio import CancelledError
from collections.abc import Iterator
from contextlib import contextmanager

from ccl_contract.backup import BackupStage


class StepFailed(Exception):
    """A step of a backup could not be done; the text says why and is safe to show."""


class BackupFailed(Exception):
    """A backup ended in ``stage``. ``reason`` is safe to show; the cause, if any, is chained."""

    def __init__(self, stage: BackupStage, reason: str) -> None:
        super().__init__(f"{stage}: {reason}")
        self.stage = stage
        self.reason = reason


class BackupStopped(BackupFailed):
    """Somebody stopped the backup (SIGTERM, SIGINT)."""


@contextmanager
def during(stage: BackupStage) -> Iterator[None]:
    """Name the stage in whatever ends its block. Raises BackupFailed, or BackupStopped for a cancellation."""
    try:
        yield
    except StepFailed as exc:
        raise BackupFailed(stage, str(exc)) from exc
    except CancelledError as exc:
        # The task that is cancelled ends with the whole process; the report still has to say where it was.
        raise BackupStopped(stage, "stopped by a signal") from exc
    except BackupFailed:
        raise
    except Exception as exc:
        # A bug; a Job that ends without a word would be worse, and the cause keeps the traceback.
        raise BackupFailed(stage, f"unexpected {type(exc).__name__}: {first_line(exc)}") from exc


def first_line(exc: BaseException) -> str:
    """The first line of an error's text (obstore appends its own source code positions), or its type's name."""
    return next((line.strip() for line in str(exc).splitlines() if line.strip()), type(exc).__name__)
