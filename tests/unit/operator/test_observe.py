"""One observation of everything, read from the cache."""

from ccl_operator import names
from ccl_operator.actions import Key
from ccl_operator.observe import Probe, observe
from tests.unit.operator.samples import SPEC, START

KEY = Key("loans", "ccl")


class Cache:
    """A cache that holds one owner and remembers which Secrets were asked for."""

    def __init__(self, owner):
        self._owner, self.asked = owner, None

    def owner(self, key):
        return self._owner

    def children(self, resource, key):
        return [{"metadata": {"name": name}} for name in ("b", "a")]

    def referenced(self, namespace, wanted):
        self.asked = (namespace, tuple(wanted))
        return {}

    def foreign(self, key):
        return frozenset({(names.SERVICE, "ccl")})

    def forbidden(self, key):
        return {names.JOB: "create"}

    def refused(self, key):
        return {(names.CRON_JOB, "ccl-backup"): "no such schedule"}

    def served(self):
        return frozenset({names.POD_MONITOR})

    def probes(self, key):
        return {"uid": Probe(START, None, "refused")}


def test_an_object_that_is_not_there_is_not_observed():
    assert observe(Cache(None), KEY) is None


def test_every_kind_has_an_entry_sorted_by_name():
    observed = observe(Cache({"spec": SPEC}), KEY)
    assert set(observed.children) == set(names.CHILDREN)
    assert all([each["metadata"]["name"] for each in found] == ["a", "b"] for found in observed.children.values())


def test_the_secrets_that_the_spec_names_are_asked_for_each_once():
    cache = Cache({"spec": SPEC | {"database": {"urlFrom": {"secretKeyRef": {"name": "openai", "key": "url"}}}}})
    observe(cache, KEY)
    assert cache.asked == ("loans", ("mailgun", "openai"))


def test_what_the_last_writes_found_is_part_of_it():
    observed = observe(Cache({"spec": SPEC}), KEY)
    assert observed.foreign == {(names.SERVICE, "ccl")}
    assert observed.forbidden == {names.JOB: "create"}
    assert observed.refused == {(names.CRON_JOB, "ccl-backup"): "no such schedule"}
    assert observed.served == {names.POD_MONITOR}
    assert observed.probes["uid"].error == "refused"
