"""Memory of a container, from the files of both versions of control groups."""

from pathlib import Path

from ccl_service.platform.telemetry.cgroup import Memory, memory

MIB = 1024 * 1024


def write(folder: Path, **files: str) -> None:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def test_version_2(tmp_path: Path) -> None:
    stat = f"anon 1\ninactive_file {10 * MIB}\n"
    write(tmp_path, memory__current=f"{60 * MIB}\n", memory__max=f"{100 * MIB}\n", memory__stat=stat)
    assert memory(tmp_path) == Memory(50 * MIB, 100 * MIB)


def test_version_2_without_a_limit(tmp_path: Path) -> None:
    write(tmp_path, memory__current=f"{60 * MIB}\n", memory__max="max\n", memory__stat="inactive_file 0\n")
    assert memory(tmp_path) == Memory(60 * MIB, None)


def test_version_1(tmp_path: Path) -> None:
    write(
        tmp_path / "memory",
        memory__usage_in_bytes=f"{60 * MIB}\n",
        memory__limit_in_bytes=f"{100 * MIB}\n",
        memory__stat=f"cache 1\ntotal_inactive_file {10 * MIB}\n",
    )
    assert memory(tmp_path) == Memory(50 * MIB, 100 * MIB)


def test_version_1_without_a_limit(tmp_path: Path) -> None:
    write(
        tmp_path / "memory",
        memory__usage_in_bytes="1000\n",
        memory__limit_in_bytes="9223372036854771712\n",
        memory__stat="total_inactive_file 0\n",
    )
    assert memory(tmp_path) == Memory(1000, None)


def test_no_control_group_at_all(tmp_path: Path) -> None:
    assert memory(tmp_path) is None


def test_files_that_say_something_else(tmp_path: Path) -> None:
    write(tmp_path, memory__current="?\n", memory__max="max\n", memory__stat="")
    assert memory(tmp_path) is None
