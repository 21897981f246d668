"""The chat client of the command line."""

import subprocess
import sys


def test_a_service_that_is_not_there_is_told_in_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hack.chat", "--url", "http://127.0.0.1:1", "--say", "hi"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "is the service up" in done.stderr
