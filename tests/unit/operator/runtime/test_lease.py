"""When a Lease may be taken, judged by what we saw ourselves."""

from typing import Any

import pytest

from ccl_operator.runtime.lease import DURATION, Record, Sighting


def lease(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"resourceVersion": "7"}, "spec": spec}


def test_a_held_lease_is_free_after_its_own_duration_since_we_saw_it_change() -> None:
    record = Record.of(lease(holderIdentity="other", leaseDurationSeconds=40, renewTime="1999-01-01T00:00:00.000000Z"))
    assert Sighting(record, since=100.0).free_at() == 140.0


@pytest.mark.parametrize("manifest", [lease(holderIdentity=""), lease(), {"metadata": {"resourceVersion": "7"}}])
def test_a_lease_without_a_holder_is_free_at_once(manifest: dict[str, Any]) -> None:
    assert Sighting(Record.of(manifest), since=100.0).free_at() == 100.0


def test_a_holder_that_tells_no_duration_has_the_usual_one() -> None:
    assert Record.of(lease(holderIdentity="other")).duration == DURATION


def test_a_renewal_is_a_new_record_even_when_only_the_version_differs() -> None:
    before = Record.of(lease(holderIdentity="other"))
    after = Record.of(lease(holderIdentity="other") | {"metadata": {"resourceVersion": "8"}})
    assert before != after
