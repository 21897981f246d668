"""What the cache believes when news arrive late, twice, or out of order."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ccl_operator import names
from ccl_operator.actions import Key
from ccl_operator.runtime.store import Store, itself

KEY = Key("n", "ccl")


def thing(name: str = "x", version: int = 1, uid: str = "u1", instance: str | None = "ccl") -> dict[str, Any]:
    """An object of ours."""
    labels = {names.INSTANCE_LABEL: instance} if instance else {}
    return {"metadata": {"namespace": "n", "name": name, "uid": uid, "resourceVersion": str(version), "labels": labels}}


def version(store: Store, name: str = "x") -> str | None:
    """resourceVersion of what is known."""
    found = store.get("n", name)
    return None if found is None else str(found["metadata"]["resourceVersion"])


def test_news_touch_the_instance_that_the_labels_name() -> None:
    assert Store().put(thing()) == {KEY}


def test_an_echo_of_what_is_known_touches_nobody() -> None:
    store = Store()
    store.put(thing(version=5))
    assert store.put(thing(version=5)) == set()


def test_an_older_version_never_replaces_a_newer_one() -> None:
    store = Store()
    store.put(thing(version=10))
    assert store.put(thing(version=9)) == set()
    assert version(store) == "10"


def test_a_moved_label_touches_both_instances() -> None:
    store = Store()
    store.put(thing(version=1))
    assert store.put(thing(version=2, instance="other")) == {KEY, Key("n", "other")}
    assert store.of_instance(KEY) == ()


def test_a_deletion_counts_for_its_own_uid_only() -> None:
    store = Store()
    store.put(thing(version=5, uid="new"))
    assert store.remove(thing(version=9, uid="old")) == set()
    assert version(store) == "5"


def test_the_late_answer_of_a_write_does_not_bring_a_deleted_object_back() -> None:
    store = Store()
    store.remove(thing(version=11))
    assert store.put(thing(version=10)) == set()
    assert version(store) is None


def test_an_object_that_gets_its_label_back_is_known_again() -> None:
    store = Store()
    store.put(thing(version=5))
    store.remove(thing(version=6))
    assert store.put(thing(version=7)) == {KEY}


def test_a_listing_drops_what_it_does_not_hold_but_not_what_was_made_after_it() -> None:
    store = Store()
    store.put(thing("gone", version=3, uid="a"))
    store.put(thing("young", version=12, uid="b"))
    assert store.retain(set(), listed_at=10, namespace=None) == {KEY}
    assert version(store, "gone") is None
    assert version(store, "young") == "12"


def test_a_listing_of_one_namespace_leaves_the_others_alone() -> None:
    store = Store()
    store.put(thing(version=3))
    assert store.retain(set(), listed_at=10, namespace="elsewhere") == set()
    assert version(store) == "3"


def test_what_a_listing_dropped_does_not_come_back_by_a_late_answer() -> None:
    store = Store()
    store.put(thing(version=5))
    store.retain(set(), listed_at=10, namespace=None)
    assert store.put(thing(version=4)) == set()
    assert store.places() == set()


def test_an_object_is_given_back_as_it_came() -> None:
    store, data = Store(), {"data": {"k": "ö\ud800"}, "n": [1, 2.5, None, True, {}], "big": 2**70}
    store.put(thing() | data)
    found = store.get("n", "x")
    assert found == thing() | data | {"metadata": {**thing()["metadata"], "managedFields": []}}
    assert store.of_instance(KEY) == (found,)


def test_whoever_asks_while_an_object_is_held_gets_the_very_same() -> None:
    store = Store()
    store.put(thing())
    (held,) = store.of_instance(KEY)
    assert store.get("n", "x") is held
    store.put(thing(version=2))
    assert store.get("n", "x") is not held
    assert version(store) == "2"


def test_an_object_of_a_store_of_owners_concerns_itself() -> None:
    store = Store(whose=itself)
    assert store.put(thing("x", instance="another")) == {Key("n", "x")}


def test_only_our_own_entry_of_managed_fields_is_kept() -> None:
    ours = {"manager": names.FIELD_MANAGER, "operation": "Apply", "fieldsV1": {}}
    others = [ours | {"manager": "kubectl"}, ours | {"subresource": "status"}, ours | {"operation": "Update"}]
    manifest = thing()
    manifest["metadata"]["managedFields"] = [*others, ours]
    store = Store()
    store.put(manifest)
    found = store.get("n", "x")
    assert found is not None
    assert found["metadata"]["managedFields"] == [ours]


@given(st.permutations([1, 2, 3, 4, 5]))
def test_in_any_order_of_arrival_the_newest_wins(order: list[int]) -> None:
    store = Store()
    for each in order:
        store.put(thing(version=each))
    assert version(store) == "5"
