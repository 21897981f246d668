"""A process id that belongs to somebody else by now is never taken for the node's."""

import os
import subprocess

from hack.cluster.native import identity

STAT = "{pid} ({name}) {state} 1 1 1 0 -1 4194560 1 1 1 1 1 1 1 1 20 0 1 0 {started} 1 1"


def proc(tmp_path, *, pid=7, name="init", state="S", started=100, boot="boot-1"):
    (tmp_path / str(pid)).mkdir(exist_ok=True)
    (tmp_path / str(pid) / "stat").write_text(STAT.format(pid=pid, name=name, state=state, started=started))
    kernel = tmp_path / "sys/kernel/random"
    kernel.mkdir(parents=True, exist_ok=True)
    (kernel / "boot_id").write_text(f"{boot}\n")
    return tmp_path


def recorded(tmp_path):
    place = tmp_path / "node.json"
    identity.record(identity.of(7, proc(tmp_path)), place)
    return place


def test_the_recorded_process_is_found_while_it_lives(tmp_path):
    place = recorded(tmp_path)
    assert identity.living(place, tmp_path).pid == 7


def test_a_process_that_ended_is_not_found(tmp_path):
    place = recorded(tmp_path)
    (tmp_path / "7" / "stat").unlink()
    assert identity.living(place, tmp_path) is None


def test_a_reused_id_is_not_taken_for_the_recorded_process(tmp_path):
    place = recorded(tmp_path)
    proc(tmp_path, started=101)
    assert identity.living(place, tmp_path) is None


def test_the_same_id_and_time_after_a_reboot_is_another_process(tmp_path):
    place = recorded(tmp_path)
    proc(tmp_path, boot="boot-2")
    assert identity.living(place, tmp_path) is None


def test_a_zombie_is_not_alive(tmp_path):
    place = recorded(tmp_path)
    proc(tmp_path, state="Z")
    assert identity.living(place, tmp_path) is None


def test_a_half_written_record_counts_as_none(tmp_path):
    place = recorded(tmp_path)
    for text in ("", "{", "{}", '{"pid": 7}'):
        place.write_text(text)
        assert identity.living(place, tmp_path) is None


def test_a_name_with_spaces_and_brackets_does_not_shift_the_fields(tmp_path):
    assert identity.of(7, proc(tmp_path, name="a) b (c", started=55)).started == 55


def test_this_very_process_has_an_identity():
    mine = identity.of(os.getpid())
    child = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    theirs = identity.of(child.pid)
    child.communicate()
    assert mine.started <= theirs.started
    assert identity.of(child.pid) is None
