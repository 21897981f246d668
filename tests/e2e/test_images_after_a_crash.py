"""What builds find in the image storage after one was killed. Each test has a storage of its own."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from hack.cluster import cache
from hack.images.builder import CONTAINERS, builder

IMAGE = "localhost/ccl/small:1"
#: A command that builds the folder which it is given.
BUILD = f"""\
import sys
from pathlib import Path
from hack.images.builder import builder
folder = Path(sys.argv[1])
with builder(docker=False) as found:
    found.build(folder, folder / "Dockerfile", {IMAGE!r}, {{}})
"""


@pytest.fixture(autouse=True)
def storage(tmp_path, monkeypatch):
    """The folder of a storage that nobody else uses."""
    if os.geteuid() != 0 or shutil.which("buildah") is None:
        pytest.skip("buildah builds only as root, and where no Docker does")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    there = CONTAINERS.exists()
    yield cache.folder() / "buildah"
    if not there:  # a killed build leaves it
        with suppress(FileNotFoundError):
            CONTAINERS.rmdir()


def context(place: Path, line: str) -> Path:
    """A folder to build from with one step."""
    place.mkdir()
    (place / "file").write_text("content")
    (place / "Dockerfile").write_text(f"FROM scratch\n{line}\n")
    return place


def build(folder: Path, reference: str = IMAGE) -> None:
    with builder(docker=False) as found:
        found.build(folder, folder / "Dockerfile", reference, {})


def kill_in_the_middle(place: Path) -> None:
    """Start a build that waits for a download for ever, and kill it then."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        folder = context(place, f"ADD http://127.0.0.1:{server.getsockname()[1]}/never /")
        root = Path(__file__).parents[2]
        with subprocess.Popen([sys.executable, "-c", BUILD, folder], cwd=root, start_new_session=True) as command:
            connection, _ = server.accept()
            os.killpg(command.pid, signal.SIGKILL)
        connection.close()


def test_the_next_build_drops_the_working_container_of_a_killed_one_and_keeps_images(storage, tmp_path):
    kept = context(tmp_path / "kept", "COPY file /")
    build(kept, "localhost/ccl/kept:1")
    kill_in_the_middle(tmp_path / "killed")
    containers = storage / "overlay-containers" / "containers.json"
    assert len(json.loads(containers.read_text())) == 1

    with builder(docker=False) as after:
        assert after.has("localhost/ccl/kept:1")

    assert json.loads(containers.read_text()) == []


@pytest.mark.parametrize("damaged", ["overlay-layers/layers.json", "overlay-containers/containers.json"])
def test_a_storage_that_a_crash_left_unusable_is_made_again(storage, tmp_path, capsys, damaged):
    folder = context(tmp_path / "small", "COPY file /")
    build(folder)
    (storage / damaged).write_text('[{"id": "12')

    with builder(docker=False) as after:
        assert not after.has(IMAGE)
        after.build(folder, folder / "Dockerfile", IMAGE, {})
        assert after.has(IMAGE)

    assert "the image storage is unusable and made again" in capsys.readouterr().out
