"""Ends the process when it should have ended long ago: a leader that lost its Lease while its event loop hung.

A thread, because what hangs cannot watch itself. The ordinary way out (``lease.LeaseLost``) is quicker.
"""

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

#: Seconds between two looks.
EVERY: Final = 1.0
#: Seconds that the ordinary way out gets.
PATIENCE: Final = 5.0
EXIT_CODE: Final = 3


@contextmanager
def watching(
    is_overdue: Callable[[], bool],
    *,
    every: float = EVERY,
    patience: float = PATIENCE,
    end: Callable[[int], None] = os._exit,
) -> Iterator[None]:
    """While the block runs: ``end(3)`` once ``is_overdue`` has said yes at every look for ``patience`` seconds."""
    stopped = threading.Event()

    def look() -> None:
        overdue = 0.0
        while not stopped.wait(every):
            overdue = overdue + every if is_overdue() else 0.0
            if overdue >= patience:
                # Whatever holds the event loop may hold the log's lock as well.
                sys.stderr.write('{"event": "the lease is lost and the process hangs", "action": "watchdog.exit"}\n')
                sys.stderr.flush()
                end(EXIT_CODE)

    thread = threading.Thread(target=look, name="watchdog", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
