"""What ``ccl-service maintain`` reports: one line per task, and whether another run had the database to itself."""

from enum import StrEnum

from pydantic import Field

from ccl_contract.document import Document, Part

#: Kubernetes keeps 4096 bytes of a termination message; ours stays at half.
REPORT_MAX_BYTES = 2048


class TaskStatus(StrEnum):
    """What became of a task. Only ``failed`` makes the command fail."""

    OK = "ok"
    #: Time was over; the next run goes on.
    PARTIAL = "partial"
    #: Something was found that a person should look at.
    ATTENTION = "attention"
    FAILED = "failed"


class Task(Part):
    """One task. ``changed`` counts rows (or tables) that were changed, in a dry run those that would be."""

    name: str
    status: TaskStatus
    changed: int = 0
    took_ms: int = 0
    message: str = Field(default="", max_length=500)


class MaintenanceReport(Document):
    """``busy``: another run was at work, so that this one did nothing."""

    dry_run: bool = False
    busy: bool = False
    tasks: tuple[Task, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether a task failed."""
        return any(task.status is TaskStatus.FAILED for task in self.tasks)

    def brief(self) -> str:
        """JSON of at most ``REPORT_MAX_BYTES``: what is not in order first, then what changed, as much as fits."""
        ordered = sorted(self.tasks, key=lambda task: (task.status is TaskStatus.OK, not task.changed))
        told = [task for task in ordered if task.status is not TaskStatus.OK or task.changed]
        while True:
            short = tuple(task.model_copy(update={"message": task.message[:80]}) for task in told)
            text = self.model_copy(update={"tasks": short}).model_dump_json()
            if len(text.encode()) <= REPORT_MAX_BYTES:
                return text
            told.pop()
