"""What is built once stays, what was cut off is never used."""

import subprocess
import threading

import pytest

from hack.cluster import cache


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def write(text):
    return lambda folder: (folder / "file").write_text(text)


def test_an_entry_is_built_once():
    first = cache.entry("thing", "0" * 12, write("one"))
    second = cache.entry("thing", "0" * 12, write("two"))
    assert first == second
    assert (second / "file").read_text() == "one"


def test_a_build_that_fails_leaves_no_entry_and_the_next_starts_from_nothing():
    def cut_off(folder):
        (folder / "half").touch()
        raise RuntimeError

    with pytest.raises(RuntimeError):
        cache.entry("thing", "0" * 12, cut_off)
    assert cache.find("thing", "0" * 12) is None
    built = cache.entry("thing", "0" * 12, write("whole"))
    assert [file.name for file in built.iterdir()] == ["file"]


def test_a_new_key_replaces_the_entry_and_leaves_other_names_alone():
    old = cache.entry("thing", "0" * 12, write("old"))
    other = cache.entry("thing-else", "0" * 12, write("other"))
    new = cache.entry("thing", "1" * 12, write("new"))
    assert (old.exists(), other.exists(), new.exists()) == (False, True, True)


def test_two_who_ask_at_once_build_once():
    builds = []
    both = threading.Barrier(2)

    def ask():
        both.wait()
        cache.entry("thing", "0" * 12, builds.append)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(builds) == 1


def test_a_scratch_folder_goes_with_its_block_and_that_of_a_killed_process_with_the_next(tmp_path):
    ended = subprocess.Popen(["true"])
    ended.wait()
    left = tmp_path / "ccl-dev" / "scratch" / f"{ended.pid}-left"
    left.mkdir(parents=True)
    with cache.scratch() as outer, cache.scratch() as inner:
        assert not left.exists()
        assert outer.is_dir()
        assert outer != inner
    assert list(left.parent.iterdir()) == []


def test_a_key_depends_on_names_and_contents_of_a_folder(tmp_path):
    place = tmp_path / "inputs"
    place.mkdir()
    (place / "a").write_text("1")
    before = cache.key(place)
    (place / "__pycache__").mkdir()
    (place / "__pycache__" / "a.pyc").write_text("x")
    assert cache.key(place) == before
    (place / "a").rename(place / "b")
    assert cache.key(place) != before


def test_a_key_tells_where_one_input_ends():
    assert cache.key("ab", "c") != cache.key("a", "bc")


def test_a_link_is_replaced_in_one_step(tmp_path):
    for target in ("one", "two"):
        cache.link(tmp_path / "bin" / "tool", tmp_path / target)
    assert (tmp_path / "bin" / "tool").readlink() == tmp_path / "two"
    assert len(list((tmp_path / "bin").iterdir())) == 1
