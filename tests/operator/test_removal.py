"""Nothing the operator makes waits for the operator when it goes."""

from tests.operator.conftest import Place

#: Set by the API server itself on every claim; its own controller removes it.
CLAIMS_OWN = ["kubernetes.io/pvc-protection"]


def test_no_object_carries_a_finalizer_of_ours_so_that_a_namespace_goes_without_the_operator(place: Place) -> None:
    """Source: kubernetes.io, "Finalizers": a namespace is only gone when those of all its objects are."""
    operator = place.start_operator()
    place.create()
    place.promote()
    operator.kill()
    assert place.owner()["metadata"].get("finalizers") is None
    children = place.written_children()
    assert children
    for child in children:
        assert child["metadata"].get("finalizers") in (None, CLAIMS_OWN), child["metadata"]["name"]


def test_what_can_be_made_again_blocks_neither_the_deletion_of_its_owner_nor_outlives_it(place: Place) -> None:
    place.start_operator()
    owner = place.create()
    place.promote()
    references = [one for child in place.written_children() for one in child["metadata"].get("ownerReferences") or ()]
    assert references
    for one in references:
        assert one["uid"] == owner["metadata"]["uid"]
        assert not one.get("blockOwnerDeletion")
