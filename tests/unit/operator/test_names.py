"""Names: all unique, all valid, however long the CclDeployment's name is."""

import re

import pytest

from ccl_operator import names

REVISION = "0123456789"
PER_OBJECT = (
    names.stable_service,
    names.preview_service,
    names.keys,
    names.monitor,
    names.postgres,
    names.redis,
    names.backup,
    names.backups,
    names.postgres_volume,
)
PER_REVISION = (names.web, names.jobs, names.env, names.ext, names.migrate, names.controller_revision)
LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")


def every(instance):
    return [make(instance) for make in PER_OBJECT] + [make(instance, REVISION) for make in PER_REVISION]


@pytest.mark.parametrize("instance", ["c", "ccl", "a" * names.MAX_NAME])
def test_all_names_are_unique_dns_labels(instance):
    found = every(instance)
    assert len(set(found)) == len(found)
    assert [name for name in found if not LABEL.fullmatch(name) or len(name) > 63] == []


def test_a_cron_job_leaves_room_for_the_times_its_jobs_are_named_after():
    assert len(names.backup("a" * names.MAX_NAME)) <= 52


def test_label_values_fit():
    found = names.labels("a" * names.MAX_NAME, names.POSTGRES, REVISION)
    assert all(len(value) <= 63 for value in found.values())


@pytest.mark.parametrize("name", ["", "-c", "c-", "1c", "C", "c.d", "a" * 41])
def test_names_that_would_make_invalid_children_are_refused(name):
    assert not names.valid_instance(name)


def test_kinds_are_unique_and_those_only_watched_are_among_the_children():
    assert len(set(names.CHILDREN)) == len(names.CHILDREN)
    assert set(names.READ_ONLY) < set(names.CHILDREN)


def test_only_objects_with_our_labels_and_this_instance_are_ours():
    ours = {"metadata": {"labels": names.labels("ccl")}}
    assert names.is_ours(ours, "ccl")
    assert not names.is_ours(ours, "other")
    assert not names.is_ours({"metadata": {"labels": {names.INSTANCE_LABEL: "ccl"}}}, "ccl")
    assert not names.is_ours({"metadata": {}}, "ccl")
