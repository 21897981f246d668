"""A secret is never readable by others, and never half there."""

import errno
import os
import stat

import pytest

from hack.files import write_private


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
