"""What one user has written so far, from the API server's audit log, of which each line is read once."""

import json
from pathlib import Path
from typing import Any, Final

#: What an operator writes besides its work.
QUIET: Final = frozenset({"leases", "events", "selfsubjectaccessreviews", "subjectaccessreviews"})


class Written:
    """Follows the log at ``place`` for ``user``."""

    def __init__(self, place: Path, user: str) -> None:
        self._place, self._user, self._read = place, user, 0
        self._events: list[dict[str, Any]] = []

    def events(self) -> list[dict[str, Any]]:
        """Audit events that changed objects, oldest first."""
        mark = json.dumps(self._user).encode()
        with self._place.open("rb") as log:
            log.seek(self._read)
            for line in log:
                if not line.endswith(b"\n"):
                    break
                self._read += len(line)
                if mark in line:
                    self._take(json.loads(line))
        return self._events

    def _take(self, event: dict[str, Any]) -> None:
        if event["user"]["username"] == self._user and event["objectRef"]["resource"] not in QUIET:
            self._events.append(event)
