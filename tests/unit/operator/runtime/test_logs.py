"""What the log says of exceptions that nobody expected."""

import io
import json
import logging

import pytest
import structlog

from ccl_operator.runtime import logs


@pytest.fixture
def log_line(monkeypatch: pytest.MonkeyPatch):
    """The last line on stderr, once something has been logged."""
    stderr, root = io.StringIO(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    monkeypatch.setattr("sys.stderr", stderr)
    logs.configure("info")
    yield lambda: json.loads(stderr.getvalue().splitlines()[-1])
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def quoting(secret: str) -> None:
    try:
        int(secret)
    except ValueError as error:
        raise KeyError(secret) from error


@pytest.mark.parametrize("library", [False, True], ids=["our own line", "a library's line"])
def test_an_unexpected_exception_is_told_by_its_types_and_frames_and_never_by_its_words(log_line, library):
    try:
        quoting("hunter2")
    except KeyError:
        if library:
            logging.getLogger("kopf").exception("handler failed")
        else:
            structlog.get_logger("ours").exception("reconcile failed", action="reconcile.bug")
    line = log_line()
    assert "hunter2" not in str(line)
    told = line["exception"]
    assert [each for each in told if " " not in each] == ["ValueError", "KeyError"]
    assert sum(each.endswith(" quoting") for each in told) == 2
    assert "test_logs.py:" in told[0]


def test_causes_that_go_round_in_a_circle_are_told_once(log_line):
    first, second = ValueError("a"), KeyError("b")
    first.__cause__, second.__cause__ = second, first
    structlog.get_logger("ours").error("odd", exc_info=first)
    assert log_line()["exception"] == ["KeyError", "ValueError"]


def test_an_expected_error_is_told_by_whoever_has_caught_it(log_line):
    structlog.get_logger("ours").warning("reconcile interrupted", error="patch deployments loans/ccl: busy")
    assert log_line()["error"] == "patch deployments loans/ccl: busy"
