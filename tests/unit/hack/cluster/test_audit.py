"""Which lines of an audit log are changes, and that each is counted once."""

import json

import pytest

from hack.cluster.audit import Written, words

WRITER = "system:serviceaccount:ccl-system:ccl-operator"


def line(resource, verb="patch", user=WRITER, name="ccl"):
    reference = {"resource": resource, "namespace": "loans"} | ({"name": name} if name else {})
    return json.dumps({"verb": verb, "user": {"username": user}, "objectRef": reference}) + "\n"


@pytest.fixture
def log(tmp_path):
    return tmp_path / "audit.log"


def told(written):
    return [words(event) for event in written.events()]


def test_before_the_first_write_of_anybody_there_is_none(log):
    assert told(Written(log, WRITER)) == []


def test_writes_are_told_in_their_order_and_once_although_asked_for_again(log):
    written = Written(log, WRITER)
    log.write_text(line("services"))
    assert told(written) == ["patch services/ccl"]
    with log.open("a") as file:
        file.write(line("pods", "create", name=""))
    assert told(written) == ["patch services/ccl", "create pods/"]


def test_a_line_that_is_being_written_is_read_when_it_is_whole(log):
    written, whole = Written(log, WRITER), line("services")
    log.write_text(line("secrets") + whole[:40])
    assert told(written) == ["patch secrets/ccl"]
    log.write_text(line("secrets") + whole)
    assert told(written) == ["patch secrets/ccl", "patch services/ccl"]


def test_what_others_write_does_not_count_whoever_it_is_about(log):
    log.write_text(line("rolebindings", user="admin", name=WRITER) + line("services", user=f"{WRITER}-2"))
    assert told(Written(log, WRITER)) == []


@pytest.mark.parametrize("resource", ["leases", "events", "selfsubjectaccessreviews", "subjectaccessreviews"])
def test_a_lease_that_is_held_and_what_is_told_or_asked_is_no_change(log, resource):
    log.write_text(line(resource, "create"))
    assert told(Written(log, WRITER)) == []
