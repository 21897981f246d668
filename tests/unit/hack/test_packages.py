"""Packages are installed only where something is missing, and where that cannot be done one line says so."""

import pytest

from hack import packages
from hack.run import Failure


@pytest.fixture
def elsewhere(monkeypatch, tmp_path):
    """A machine without dpkg and with one program."""
    (tmp_path / "redis-server").write_text("#!/bin/sh\n")
    (tmp_path / "redis-server").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(packages, "SYSTEM_PATH", str(tmp_path))


@pytest.mark.usefixtures("elsewhere")
def test_a_machine_that_has_the_program_needs_no_package_manager():
    packages.ensure_programs({"redis-server": "redis-server"})


@pytest.mark.usefixtures("elsewhere")
def test_without_apt_the_missing_programs_are_named():
    with pytest.raises(Failure, match=r"^missing: nginx; fix: install them"):
        packages.ensure_programs({"redis-server": "redis-server", "nginx-light": "nginx"})


def test_without_root_the_command_to_type_is_told(monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr(packages, "installed", lambda package: package == "openssl")
    monkeypatch.setattr("shutil.which", lambda *_, **__: "/usr/bin/dpkg-query")
    with pytest.raises(Failure, match="fix: sudo apt-get install -y --no-install-recommends nginx-light"):
        packages.ensure_packages(["openssl", "nginx-light"])


def test_what_another_command_has_installed_meanwhile_is_not_installed_again(monkeypatch, tmp_path):
    there = iter((False, True))
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("shutil.which", lambda *_, **__: "/usr/bin/dpkg-query")
    monkeypatch.setattr(packages, "APT", tmp_path)
    monkeypatch.setattr(packages, "installed", lambda _: next(there))
    monkeypatch.setattr(packages, "run", lambda *_, **__: pytest.fail("nothing is missing any more"))
    packages.ensure_packages(["nginx-light"])
