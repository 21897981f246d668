"""Generated keys change hands without a restart, and never before every pod knows the new one."""

import base64
from datetime import timedelta

import pytest

from ccl_contract.keys import KeyFile, KeyState, parse_key_file
from ccl_contract.readiness import KeyIds
from ccl_operator import names
from ccl_operator.api.status import SecretsStatus
from ccl_operator.api.v1alpha1 import Spec
from ccl_operator.rotation import KEPT, PATIENCE, SPREAD, Rotation, rotate
from ccl_operator.secrets import keys_data
from tests.unit.operator.samples import SPEC, START
from tests.unit.operator.simulated_cluster import SimulatedCluster

FIRST, SECOND = bytes(range(256)), bytes(reversed(range(256)))
FILES = {"internal-api.json": "internal_api", "jwt.json": "jwt", "session.json": "session"}
DAY = timedelta(days=1)


def spec(**secrets: str) -> Spec:
    return Spec.model_validate({**SPEC, "secrets": {**SPEC["secrets"], **secrets}})


KEYS = keys_data({}, spec(), entropy=FIRST, now=START)


def files(keys) -> dict[str, KeyFile]:
    return {name: parse_key_file(keys[name]) for name in FILES}


def states(keys) -> list[list[str]]:
    return [[str(key.state) for key in file.keys] for file in files(keys).values()]


def holding(keys) -> KeyIds:
    return KeyIds(**{FILES[name]: file.ids for name, file in files(keys).items()})


def step(keys, now, *, held=None, known=None, entropy=SECOND, **secrets) -> Rotation:
    return rotate(keys, spec(**secrets), known=known or SecretsStatus(), held=held or {}, entropy=entropy, now=now)


def begun(word="now", at=START) -> Rotation:
    """A rotation that was ordered with this word, found in the Secret and recorded."""
    ordered = step(KEYS, at, rotate=word)
    return step(ordered.keys, at, rotate=word)


def test_nothing_happens_before_it_is_due():
    rotation = step(KEYS, START + 29 * DAY, rotateAfter="720h")
    assert rotation.keys == KEYS
    assert rotation.status.next_rotation == rotation.wake_at == START + 30 * DAY


def test_without_a_rotation_age_keys_stay_for_ever():
    rotation = step(KEYS, START + 10_000 * DAY)
    assert (rotation.keys, rotation.wake_at) == (KEYS, None)


def test_at_its_age_each_key_gets_a_successor_that_does_not_sign_yet():
    rotation = step(KEYS, START + 30 * DAY, rotateAfter="720h")
    assert states(rotation.keys) == [["current", "next"]] * 3
    assert {f.current.id for f in files(rotation.keys).values()} == {f.current.id for f in files(KEYS).values()}


def test_changing_the_word_rotates_now_and_once():
    ordered = step(KEYS, START + DAY, rotate="leaked")
    assert states(ordered.keys) == [["current", "next"]] * 3
    found = step(ordered.keys, START + DAY, known=ordered.status, rotate="leaked")
    done = step(found.keys, START + DAY + SPREAD, known=found.status, rotate="leaked")
    again = step(done.keys, START + DAY + 2 * SPREAD, known=done.status, rotate="leaked")
    assert states(again.keys) == states(done.keys) == [["previous", "current"]] * 3


def test_an_order_counts_as_carried_out_only_when_its_keys_stand_in_the_secret():
    ordered = step(KEYS, START, rotate="leaked")
    assert ordered.status.rotate == ""
    lost = step(KEYS, START + DAY, known=ordered.status, rotate="leaked")
    assert states(lost.keys) == [["current", "next"]] * 3
    assert step(lost.keys, START + DAY, known=lost.status, rotate="leaked").status.rotate == "leaked"


def test_no_key_moves_on_before_its_order_is_recorded():
    ordered = step(KEYS, START, rotate="leaked")
    late = step(ordered.keys, START + DAY, known=ordered.status, rotate="leaked")
    assert late.keys == ordered.keys
    assert states(step(late.keys, START + DAY, known=late.status, rotate="leaked").keys)[0] == ["previous", "current"]


def test_what_is_told_is_told_of_the_keys_as_they_were_found():
    rotation = step(begun().keys, START + SPREAD, known=begun().status, rotate="now")
    assert states(rotation.keys)[0] == ["previous", "current"]
    assert rotation.status.rotated_at == START
    assert step(rotation.keys, START + SPREAD, known=begun().status, rotate="now").status.rotated_at == START + SPREAD


def test_the_word_of_a_new_object_is_no_order():
    rotation = rotate(KEYS, spec(rotate="x"), known=None, held={}, entropy=SECOND, now=START)
    assert (rotation.keys, rotation.status.rotate) == (KEYS, "x")


def test_a_new_key_waits_for_the_last_pod_to_hold_it():
    waiting = begun()
    old, new, late = holding(KEYS), holding(waiting.keys), START + 30 * DAY
    for held in ({"a": new, "b": old}, {"a": new, "b": None}):
        found = step(waiting.keys, late, held=held, known=waiting.status, rotate="now")
        assert states(found.keys) == [["current", "next"]] * 3
        assert found.status.waiting_for == ("b",)
    done = step(waiting.keys, late, held={"a": new, "b": new}, known=waiting.status, rotate="now")
    assert states(done.keys) == [["previous", "current"]] * 3


def test_a_new_key_waits_for_pods_that_nobody_asks():
    waiting = begun()
    early = step(waiting.keys, START + SPREAD - timedelta(seconds=1), known=waiting.status, rotate="now")
    assert early.keys == waiting.keys


def test_whom_a_rotation_waits_for_is_told_when_kubelets_have_had_their_time_and_complained_of_later():
    waiting, held = begun(), {"late": None}

    def at(since: timedelta) -> Rotation:
        return step(waiting.keys, START + since, held=held, known=waiting.status, rotate="now")

    second = timedelta(seconds=1)
    assert at(SPREAD - second).status.waiting_for == ()
    assert at(SPREAD).status.waiting_for == ("late",)
    assert at(PATIENCE - second).overdue == ""
    assert "no word from late that" in at(PATIENCE).overdue


def test_a_next_key_that_somebody_put_there_without_a_time_gets_one_and_goes_its_way():
    file = files(begun().keys)["jwt.json"]
    by_hand = [key.model_copy(update={"since": None}) if key.state == "next" else key for key in file.keys]
    keys = {**KEYS, "jwt.json": KeyFile(keys=tuple(by_hand)).model_dump_json()}
    dated = step(keys, START + DAY)
    assert files(dated.keys)["jwt.json"].keys[-1].since == START + DAY
    assert states(step(dated.keys, START + DAY + SPREAD).keys)[1] == ["previous", "current"]


def test_an_old_key_goes_after_its_time_but_what_signed_unsubscribe_links_stays():
    done = step(begun().keys, START + SPREAD, known=begun().status, rotate="now")
    later = step(done.keys, START + 100 * DAY, known=done.status, rotate="now")
    assert states(later.keys) == [["current"], ["previous", "current"], ["current"]]
    assert KEPT["JWT_SECRET"] is None
    assert step(done.keys, START + SPREAD, known=done.status, rotate="now").wake_at == START + SPREAD + DAY


def test_a_key_file_that_somebody_broke_is_left_as_it_is():
    broken = {**KEYS, "jwt.json": "{"}
    rotation = step(broken, START, rotate="now")
    assert rotation.keys["jwt.json"] == "{"
    assert parse_key_file(rotation.keys["session.json"]).keys[-1].state is KeyState.NEXT


def kept(cluster: SimulatedCluster) -> dict[str, str]:
    data = cluster.objects[names.SECRET, "ccl-keys"]["data"]
    return {name: base64.b64decode(value).decode() for name, value in data.items()}


def test_an_order_is_carried_out_to_the_end_without_a_new_revision(promoted):
    stable, before = promoted.status["stable"], kept(promoted)
    promoted.change(secrets={**SPEC["secrets"], "rotate": "today"})
    promoted.run(until=lambda: states(kept(promoted))[0] == ["current", "next"])
    promoted.run()
    after = kept(promoted)
    assert states(after) == [["previous", "current"]] * 3
    assert {name for name in after if after[name] != before[name]} == set(FILES)
    assert promoted.status["stable"] == stable
    assert promoted.status["secrets"]["rotate"] == "today"
    assert [event.reason for event in promoted.events].count("KeysRotated") == 1


def order(cluster: SimulatedCluster, word: str = "today") -> None:
    cluster.change(secrets={**SPEC["secrets"], "rotate": word})


def test_an_order_whose_secret_cannot_be_written_is_not_forgotten(promoted):
    promoted.foreign.add((names.SECRET, "ccl-keys"))
    order(promoted)
    promoted.run()
    assert "rotate" not in promoted.status["secrets"]
    promoted.foreign.clear()
    promoted.run()
    assert states(kept(promoted)) == [["previous", "current"]] * 3
    assert promoted.status["secrets"]["rotate"] == "today"


def pods_of(cluster: SimulatedCluster, component: str) -> list[str]:
    labels = ((name, each["metadata"]["labels"]) for (kind, name), each in cluster.objects.items() if kind == names.POD)
    return sorted(name for name, found in labels if found[names.COMPONENT_LABEL] == component)


@pytest.mark.parametrize("component", [names.WEB, names.JOBS])
def test_a_pod_that_never_says_that_it_holds_the_key_is_named_and_when_it_does_the_rotation_ends(promoted, component):
    silent = pods_of(promoted, component)[0]
    promoted.mute = {silent}
    order(promoted)
    promoted.run(until=lambda: promoted.condition("Reconciling")[1] == "RotationWaiting")
    assert promoted.status["secrets"]["waitingFor"] == [silent]
    assert silent in promoted.status["message"]
    assert promoted.condition("Ready")[0] == "True"
    assert [event.type for event in promoted.events if event.reason == "RotationWaiting"] == ["Warning"]
    assert states(kept(promoted)) == [["current", "next"]] * 3
    promoted.mute = set()
    promoted.run()
    assert states(kept(promoted)) == [["previous", "current"]] * 3
    assert promoted.condition("Reconciling") == ("False", "Settled")
    assert "waitingFor" not in promoted.status["secrets"]


def test_pods_that_no_node_has_taken_are_not_waited_for(promoted):
    pod = promoted.objects[names.POD, pods_of(promoted, names.WEB)[0]]
    pod["status"] = {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False"}]}
    order(promoted)
    promoted.run(until=lambda: "rotate" in promoted.status["secrets"])
    promoted.run(until=lambda: states(kept(promoted))[0] == ["previous", "current"])


def test_jobs_pods_and_retiring_ones_are_asked_while_keys_change_hands_only(promoted):
    first = [*pods_of(promoted, names.WEB), *pods_of(promoted, names.JOBS)]
    assert len(promoted.reconcile().probes) == 2
    promoted.change(image="localhost/ccl/ccl-service:2", secrets={**SPEC["secrets"], "rotate": "today"})
    promoted.run(until=lambda: bool(promoted.status["rollout"].get("retiring")))
    asked = {target.pod_uid for target in promoted.reconcile().probes}
    retiring = {pod["metadata"]["uid"] for name in first if (pod := promoted.get(names.POD, name))}
    assert retiring
    assert retiring < asked
    working = {promoted.objects[names.POD, name]["metadata"]["uid"] for name in pods_of(promoted, names.JOBS)}
    assert working < asked


def test_the_keys_are_never_written_over_newer_ones(promoted):
    version = promoted.objects[names.SECRET, "ccl-keys"]["metadata"]["resourceVersion"]
    (keys,) = [each for each in promoted.reconcile().applies if each.manifest["metadata"]["name"] == "ccl-keys"]
    assert keys.resource_version == version
