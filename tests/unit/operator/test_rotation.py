"""Generated keys change hands without a restart, and never before every pod knows the new one."""

import base64
from datetime import timedelta

from ccl_contract.keys import KeyFile, KeyState, parse_key_file
from ccl_contract.readiness import KeyIds
from ccl_operator import names
from ccl_operator.api.status import SecretsStatus
from ccl_operator.api.v1alpha1 import Spec
from ccl_operator.rotation import KEPT, SPREAD, Rotation, rotate
from ccl_operator.secrets import keys_data
from tests.unit.operator.conftest import SPEC, START, SimulatedCluster

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


def step(keys, now, *, held=(), known=None, entropy=SECOND, **secrets) -> Rotation:
    return rotate(keys, spec(**secrets), known=known or SecretsStatus(), held=held, entropy=entropy, now=now)


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
    begun = step(KEYS, START + DAY, rotate="leaked")
    assert states(begun.keys) == [["current", "next"]] * 3
    done = step(begun.keys, START + DAY + SPREAD, known=begun.status, rotate="leaked")
    again = step(done.keys, START + DAY + 2 * SPREAD, known=done.status, rotate="leaked")
    assert states(again.keys) == states(done.keys) == [["previous", "current"]] * 3


def test_the_word_of_a_new_object_is_no_order():
    rotation = rotate(KEYS, spec(rotate="x"), known=None, held=(), entropy=SECOND, now=START)
    assert (rotation.keys, rotation.status.rotate) == (KEYS, "x")


def test_a_new_key_waits_for_the_last_pod_to_hold_it():
    begun = step(KEYS, START, rotate="now")
    old, new, late = holding(KEYS), holding(begun.keys), START + 30 * DAY
    for held in ((new, old), (new, None)):
        assert states(step(begun.keys, late, held=held, known=begun.status, rotate="now").keys)[0] == [
            "current",
            "next",
        ]
    done = step(begun.keys, late, held=(new, new), known=begun.status, rotate="now")
    assert states(done.keys) == [["previous", "current"]] * 3


def test_a_new_key_waits_for_pods_that_nobody_asks():
    begun = step(KEYS, START, rotate="now")
    early = step(begun.keys, START + SPREAD - timedelta(seconds=1), known=begun.status, rotate="now")
    assert early.keys == begun.keys


def test_an_old_key_goes_after_its_time_but_what_signed_unsubscribe_links_stays():
    begun = step(KEYS, START, rotate="now")
    done = step(begun.keys, START + SPREAD, known=begun.status, rotate="now")
    later = step(done.keys, START + 100 * DAY, known=done.status, rotate="now")
    assert states(later.keys) == [["current"], ["previous", "current"], ["current"]]
    assert KEPT["JWT_SECRET"] is None
    assert done.wake_at == START + SPREAD + DAY


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
