"""What one user has written so far, from an audit log as native/files/audit.yaml asks for it: every write, one a line.

Attempts count, whatever became of them.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

#: Resources whose writes change nobody's objects: a Lease that is held, what is told, questions about permissions.
NO_CHANGE: Final = frozenset({"leases", "events", "selfsubjectaccessreviews", "subjectaccessreviews"})


def changes(lines: Iterable[bytes], user: str) -> list[dict[str, Any]]:
    """Those audit events of the lines with which ``user`` changed objects, in their order."""
    # Most lines are of others, and looking is much cheaper than parsing.
    mark = json.dumps(user).encode()
    events = (json.loads(line) for line in lines if mark in line)
    return [
        event
        for event in events
        if event["user"]["username"] == user and event["objectRef"]["resource"] not in NO_CHANGE
    ]


def words(event: dict[str, Any]) -> str:
    """An event as ``patch services/ccl``."""
    what = event["objectRef"]
    return f"{event['verb']} {what['resource']}/{what.get('name', '')}"


class Written:
    """Follows the log at ``place`` for ``user``: each line is read once."""

    def __init__(self, place: Path, user: str) -> None:
        self._place, self._user, self._read = place, user, 0
        self._events: list[dict[str, Any]] = []

    def events(self) -> list[dict[str, Any]]:
        """Audit events that changed objects, oldest first; empty before the server has written its first."""
        if self._place.exists():
            with self._place.open("rb") as log:
                log.seek(self._read)
                # A line that is just being written is read the next time.
                whole = [line for line in log if line.endswith(b"\n")]
            self._read += sum(map(len, whole))
            self._events += changes(whole, self._user)
        return self._events
