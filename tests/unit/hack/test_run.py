"""One line for what went wrong."""

import os
import signal
import subprocess
from collections import namedtuple

import pytest

from hack.run import Failure, main_with_errors, require_space, run, start_detached, wait_until


def test_a_failure_is_one_line_with_its_fix_and_exit_code_1(capsys):
    def main():
        raise Failure("the port is in use", fix="stop the other one")

    with pytest.raises(SystemExit) as ended:
        main_with_errors(main)
    assert ended.value.code == 1
    assert capsys.readouterr().err == "ccl: the port is in use; fix: stop the other one\n"


def test_a_program_that_is_not_installed_is_named():
    with pytest.raises(Failure, match="no-such-program is not installed"):
        run(["no-such-program"])


def test_a_program_that_fails_shows_the_end_of_its_output():
    with pytest.raises(Failure, match=r"^the thing failed with code 3:\n(?s:.*)\| last words$") as failed:
        run(["sh", "-c", "seq 100 >&2; echo last words >&2; exit 3"], doing="the thing")
    assert "| 1\n" not in str(failed.value)


def test_with_a_log_the_output_goes_there_and_is_shown_when_it_fails(tmp_path):
    log = tmp_path / "log"
    assert run(["echo", "fine"], log=log) == ""
    with pytest.raises(Failure, match=rf"whole output in {log}.*\n  \| fine\n  \| broken"):
        run(["sh", "-c", "echo broken; exit 1"], log=log)


def test_a_program_that_does_not_end_is_given_up():
    with pytest.raises(Failure, match="no end after 0 s"):
        run(["tail", "-f", "/dev/null"], timeout=0.05)


def test_waiting_ends_with_a_failure_when_the_time_is_over():
    with pytest.raises(Failure, match="the moon: not after 0 s"):
        wait_until(lambda: False, timeout=0.02, what="the moon", every=0.005)


def test_a_detached_program_goes_on_by_itself_and_writes_to_its_log(tmp_path):
    log = tmp_path / "log"
    pid = start_detached(["sh", "-c", "pwd; exec sleep 60"], cwd=tmp_path, log=log)
    try:
        wait_until(lambda: log.exists() and bool(log.read_text()), timeout=10, what="its first line")
        assert log.read_text().strip() == str(tmp_path.resolve())
        assert os.getsid(pid) != os.getsid(0)
    finally:
        os.kill(pid, signal.SIGTERM)


def test_a_program_that_fills_the_disk_is_told_in_one_line_with_the_fix():
    with pytest.raises(Failure, match=r"^building: the disk is full; fix: free some disk space"):
        run(["dd", "if=/dev/zero", "of=/dev/full", "count=1"], doing="building")


def test_a_full_disk_of_our_own_writing_is_one_line_too(capsys):
    def main() -> int:
        with open("/dev/full", "wb", buffering=0) as full:
            full.write(b"x")
        return 0

    with pytest.raises(SystemExit) as ended:
        main_with_errors(main)
    assert ended.value.code == 1
    assert "the disk is full" in capsys.readouterr().err


def test_a_nearly_full_disk_is_refused_with_the_place(monkeypatch, tmp_path):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(10, 9, 7.9e9))
    with pytest.raises(Failure, match=rf"7\.9 GB free at {tmp_path}, 8\.0 GB needed"):
        require_space(tmp_path / "not" / "yet", 8 * 10**9)


def test_a_time_out_that_nobody_has_translated_is_one_line_too(capsys):
    def main() -> int:
        subprocess.run(["tail", "-f", "/dev/null"], check=False, timeout=0.01)
        return 0

    with pytest.raises(SystemExit) as ended:
        main_with_errors(main)
    assert ended.value.code == 1
    assert capsys.readouterr().err == "ccl: tail -f /dev/null: no end after 0 s\n"
