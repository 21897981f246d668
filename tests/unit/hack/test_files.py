"""A secret is never readable by others, and never half there; a lock is held by one process at a time."""

import errno
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hack import files
from hack.files import locked, write_private
from hack.run import wait_until


def mode(place):
    return stat.S_IMODE(place.stat().st_mode)


@pytest.fixture(autouse=True)
def generous():
    """A shell that lets everybody read what it makes."""
    before = os.umask(0)
    yield
    os.umask(before)


def test_a_new_file_is_its_owners_alone(tmp_path):
    write_private(tmp_path / "key", "secret")
    assert (mode(tmp_path / "key"), (tmp_path / "key").read_text()) == (0o600, "secret")


def test_what_others_have_open_or_may_read_never_gets_the_secret(tmp_path):
    place = tmp_path / "key"
    place.write_text("public")
    place.chmod(0o644)
    with place.open() as others:
        write_private(place, "secret")
        assert others.read() == "public"
    assert (mode(place), place.read_text()) == (0o600, "secret")


def test_a_write_that_fails_leaves_what_was_there_and_nothing_else(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    place = tmp_path / "key"
    write_private(place, "old")
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        write_private(place, "new")
    assert [(found.name, found.read_text()) for found in tmp_path.iterdir()] == [("key", "old")]


def test_a_lock_is_waited_for_told_and_free_when_its_holder_is_killed(tmp_path, capfd):
    holding = (
        f"import signal\nfrom pathlib import Path\nfrom hack.files import locked\n"
        f"with locked(Path({str(tmp_path)!r})):\n    print('held', flush=True)\n    signal.pause()"
    )
    command = [sys.executable, "-c", holding]
    with subprocess.Popen(command, cwd=Path(files.__file__).parents[1], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        # The first sign of life is the moment to kill the holder: nobody waits by the clock.
        killer = threading.Thread(target=lambda: (until_told(capfd), holder.kill()))
        killer.start()
        with locked(tmp_path, doing="counting sheep"):
            assert holder.wait(timeout=60) == -signal.SIGKILL
        killer.join()


def test_several_share_a_lock(tmp_path):
    with locked(tmp_path, shared=True), locked(tmp_path, shared=True):
        pass


def until_told(capfd):
    wait_until(
        lambda: "waiting for another process that is counting sheep" in capfd.readouterr().out,
        timeout=60,
        what="the sign of life",
    )
