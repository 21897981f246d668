"""Of several operators one writes; another takes over when it ends, hangs or is cut off."""

import time

from ccl_operator import names
from ccl_operator.runtime import rbac
from hack.cluster.apiserver import OPERATOR
from tests.operator.conftest import Place
from tests.operator.operator_process import OperatorProcess, until
from tests.operator.tcp_proxy import TcpProxy

#: Seconds after which a silent holder's Lease is taken over; a released one long before.
EXPIRY = 15.0


def two(place: Place) -> tuple[OperatorProcess, OperatorProcess]:
    """A leader and a standby, both ready."""
    first = place.launch_operator(None, "first")
    first.wait_ready()
    until("the first leads", lambda: place.leader() == "first")
    second = place.launch_operator(None, "second")
    second.wait_ready()
    return first, second


def ask_for(place: Place, replicas: int) -> None:
    """Give the operators something to write."""
    place.api.patch(names.OWNER, place.namespace, "ccl", {"spec": {"replicas": replicas}})


def has_written(place: Place, pod: str) -> bool:
    """Whether that pod has written since."""
    return bool(place.writes(by=pod))


def test_one_of_two_replicas_writes_and_both_are_ready(place: Place) -> None:
    first, second = two(place)
    place.create()
    place.promote()
    assert place.writes(by="first")
    assert place.writes(by="second") == []
    assert (first.metric("ccl_operator_leader"), second.metric("ccl_operator_leader")) == (1.0, 0.0)


def test_the_standby_takes_over_at_once_when_the_leader_is_asked_to_end(place: Place) -> None:
    first, _ = two(place)
    place.create()
    place.promote()
    started = time.monotonic()
    assert first.stop() == 0
    ask_for(place, 3)
    until("the other writes", lambda: has_written(place, "second"))
    assert time.monotonic() - started < EXPIRY, "the Lease was released, not waited for"


def test_the_standby_takes_over_from_a_leader_that_was_killed(place: Place) -> None:
    first, _ = two(place)
    place.create()
    place.promote()
    first.kill()
    ask_for(place, 3)
    until("the other writes", lambda: has_written(place, "second"))
    assert place.leader() == "second"
    place.promote()


def test_a_leader_that_is_cut_off_writes_no_more_and_ends(place: Place) -> None:
    with TcpProxy(place.server).serving() as proxy:
        cut_off = place.launch_operator(place.server.kubeconfig_for(OPERATOR.name, through=proxy.url), "cut-off")
        cut_off.wait_ready()
        until("it leads", lambda: place.leader() == "cut-off")
        standby = place.launch_operator(None, "standby")
        standby.wait_ready()
        place.create()
        place.promote()
        before = place.writes(by="cut-off")
        proxy.freeze()
        ask_for(place, 3)
        assert cut_off.wait_ended() == 1
        assert "could not be renewed" in cut_off.log()
        until("the other writes", lambda: has_written(place, "standby"))
        proxy.resume()
        place.promote()
        assert place.writes(by="cut-off") == before


def test_a_leader_whose_lease_somebody_took_ends_and_says_who(place: Place) -> None:
    operator = place.start_operator()
    until("it leads", lambda: place.leader() == "operator")
    taken = {"spec": {"holderIdentity": "somebody_else"}}
    place.api.patch(rbac.LEASE, place.namespace, "ccl-operator", taken)
    assert operator.wait_ended() == 1
    assert "is held by somebody_else" in operator.log()


def test_a_deleted_lease_is_made_again_by_its_holder(place: Place) -> None:
    operator = place.start_operator()
    until("it leads", lambda: place.leader() == "operator")
    place.api.delete(rbac.LEASE, place.namespace, "ccl-operator")
    until("the Lease is back", lambda: place.leader() == "operator")
    place.create()
    place.promote()
    assert operator.stop() == 0


def test_a_leader_that_stood_still_while_another_took_over_does_not_write_again(place: Place) -> None:
    first, _ = two(place)
    place.create()
    place.promote()
    before = place.writes(by="first")
    first.pause()
    ask_for(place, 3)
    until("the other writes", lambda: has_written(place, "second"))
    ask_for(place, 4)
    first.resume()
    assert first.wait_ended() != 0
    place.promote()
    assert place.writes(by="first") == before


def test_an_operator_that_starts_while_the_api_server_is_away_waits_for_it(place: Place) -> None:
    with TcpProxy(place.server).serving() as proxy:
        proxy.refuse()
        operator = place.launch_operator(place.server.kubeconfig_for(OPERATOR.name, through=proxy.url))
        until("it waits", lambda: "waiting for the API server" in operator.log())
        assert operator.page("/livez") == "ok\n"
        proxy.resume()
        operator.wait_ready()


def test_after_an_outage_of_the_api_server_the_standby_goes_on_without_a_restart(place: Place) -> None:
    with TcpProxy(place.server).serving() as proxy:
        through = place.server.kubeconfig_for(OPERATOR.name, through=proxy.url)
        leader = place.launch_operator(through, "leader")
        leader.wait_ready()
        until("it leads", lambda: place.leader() == "leader")
        standby = place.launch_operator(through, "standby")
        standby.wait_ready()
        place.create()
        place.promote()
        proxy.refuse()
        place.api.delete(names.SERVICE, place.namespace, "ccl")
        assert leader.wait_ended() == 1
        proxy.resume()
        until("the Service is back", lambda: place.api.find(names.SERVICE, place.namespace, "ccl"), timeout=60)
        assert place.leader() == "standby"
        ask_for(place, 3)
        place.promote()


def test_a_short_outage_of_the_api_server_costs_neither_the_lease_nor_the_process(place: Place) -> None:
    with TcpProxy(place.server).serving() as proxy:
        operator = place.launch_operator(place.server.kubeconfig_for(OPERATOR.name, through=proxy.url))
        operator.wait_ready()
        until("it leads", lambda: place.leader() == "operator")
        place.create()
        place.promote()
        proxy.refuse()
        until("it notices", lambda: "lease not renewed" in operator.log())
        place.api.delete(names.SERVICE, place.namespace, "ccl")
        proxy.resume()
        until("the Service is back", lambda: place.api.find(names.SERVICE, place.namespace, "ccl"))
        assert operator.stop() == 0
