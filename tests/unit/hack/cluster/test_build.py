"""Which Go is good enough, and what becomes of a build whose command is interrupted."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from hack.cluster import build
from hack.run import Failure, wait_until

#: Takes for ever to build anything, until there is a file `quick`.
GO = """\
#!/bin/sh
[ "$1" = version ] && exec echo go version go1.24 linux/amd64
[ -e "$XDG_CACHE_HOME/quick" ] && exit
echo $$ >> "$XDG_CACHE_HOME/going"
exec tail -f /dev/null
"""
#: Commands as `make up` and `make test` are: one that has a build beside it, one that waits for what it builds.
STARTING = "with build.building():\n    signal.pause()"
WAITING = "print('waiting', flush=True); build.node_folder()"


class Commands:
    """Starts commands that build with a Go of the test's own, each as a shell does, in a group of its own."""

    def __init__(self, place: Path) -> None:
        self.place = place
        (place / "bin").mkdir()
        (place / "bin" / "go").write_text(GO)
        (place / "bin" / "go").chmod(0o755)
        path = f"{place / 'bin'}:{os.environ['PATH']}"
        self.environment = os.environ | {"PATH": path, "XDG_CACHE_HOME": str(place)}

    def start(self, body: str) -> subprocess.Popen[str]:
        lines = ["import signal", "from hack.cluster import build", "from hack.run import main_with_errors"]
        # As under a terminal, also when these tests run where Ctrl-C is ignored.
        lines += ["signal.signal(signal.SIGINT, signal.default_int_handler)"]
        lines += [
            "def main():",
            *(f"    {line}" for line in body.splitlines()),
            "    return 0",
            "main_with_errors(main)",
        ]
        command = [sys.executable, "-c", "\n".join(lines)]
        root = Path(build.__file__).parents[2]
        return subprocess.Popen(
            command, cwd=root, env=self.environment, text=True, stdout=subprocess.PIPE, start_new_session=True
        )

    def going(self) -> list[int]:
        """Process ids of the builds so far."""
        file = self.place / "going"
        return [int(line) for line in file.read_text().split()] if file.exists() else []


@pytest.fixture
def commands(tmp_path):
    made = Commands(tmp_path)
    yield made
    for pid in made.going():
        if psutil.pid_exists(pid) and psutil.Process(pid).name() == "tail":
            os.kill(pid, signal.SIGKILL)


def ctrl_c(command: subprocess.Popen[str]) -> int:
    """What a terminal does; returns the exit code."""
    os.killpg(command.pid, signal.SIGINT)
    return command.wait(timeout=60)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("go version go1.24 linux/amd64", (1, 24)),
        ("go version go1.26.8 linux/arm64", (1, 26)),
        ("go version go1.25rc1 darwin/arm64", (1, 25)),
    ],
)
def test_the_version_is_read_from_what_go_prints(text, version):
    assert build.parse_go_version(text) == version


def test_text_without_a_version_is_refused():
    with pytest.raises(ValueError, match="no Go version"):
        build.parse_go_version("go: command not found")


@pytest.mark.parametrize("printed", [None, "go version go1.19.8 linux/amd64"])
def test_a_missing_or_old_go_is_refused_with_the_fix(monkeypatch, tmp_path, printed):
    if printed:
        (tmp_path / "go").write_text(f"#!/bin/sh\necho {printed}\n")
        (tmp_path / "go").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Failure, match=r"Go >= 1\.24 is needed.*; fix: install Go >= 1\.24"):
        build.require_go()


def test_ctrl_c_ends_the_build_beside_it_with_all_that_it_has_started(commands):
    with commands.start(STARTING) as interrupted:
        wait_until(lambda: bool(commands.going()), timeout=60, what="the build")

        assert ctrl_c(interrupted) == 130

    assert not any(psutil.pid_exists(pid) for pid in commands.going())
    assert list((commands.place / "ccl-dev" / "scratch").iterdir()) == []


def test_who_waits_for_an_interrupted_build_builds_it_himself(commands):
    with commands.start(STARTING) as interrupted:
        wait_until(lambda: bool(commands.going()), timeout=60, what="the build")
        with commands.start(WAITING) as waiting:
            assert waiting.stdout.readline() == "waiting\n"
            (commands.place / "quick").touch()

            ctrl_c(interrupted)

            assert waiting.wait(timeout=60) == 0
    assert len(list((commands.place / "ccl-dev").glob("node-*"))) == 1


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="nothing tells a process here that its parent has died")
def test_a_build_ends_with_its_command_too_when_that_is_killed(commands):
    with commands.start(STARTING) as killed:
        wait_until(lambda: bool(commands.going()), timeout=60, what="the build")
        killed.kill()
    wait_until(lambda: not any(map(psutil.pid_exists, commands.going())), timeout=60, what="end of the build")
