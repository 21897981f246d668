"""The API server stands still for a minute and comes back."""

import time
from collections import Counter

from ccl_operator import names
from tests.operator.conftest import Place
from tests.operator.operator_process import until

OUTAGE = 60.0
#: From its return until everything is as it should be.
RECOVERY = 90.0


def test_a_minute_without_the_api_server_is_recovered_from_and_nothing_is_written_twice(place: Place) -> None:
    operators = {name: place.launch_operator(None, name) for name in ("first", "second")}
    for each in operators.values():
        each.wait_ready()
    place.create()
    place.promote()
    before = place.writes()
    begun = time.monotonic()
    with place.server.standing_still():
        until("the minute is over", lambda: time.monotonic() - begun > OUTAGE, timeout=2 * OUTAGE)
        ended = [name for name, each in operators.items() if each.ended()]
    returned = time.monotonic()
    place.api.delete(names.SERVICE, place.namespace, "ccl")
    for name in ended:
        place.launch_operator(None, name)
    until("the Service is back", lambda: place.api.find(names.SERVICE, place.namespace, "ccl"), timeout=2 * RECOVERY)
    assert time.monotonic() - returned < RECOVERY
    place.promote()
    again = Counter(place.writes()[len(before) :])
    assert {write: count for write, count in again.items() if count > 1} == {}
    assert "patch services/ccl" in again
