"""The one strength rule."""

import itertools
import json

import pytest

from ccl_contract.keys import KeyState
from ccl_contract.strength import MONITOR, NO_TOKEN, STRONG, weaknesses

GOOD = "q" * 32
KEY_VARIABLES = [name for name in STRONG if name != MONITOR]
WEAK = {
    "is a published default": "ccl-internal-2025",
    "is shorter than 32 bytes": "q" * 31,
}


def key_file(*secrets: tuple[KeyState, str]) -> str:
    keys = [{"id": f"k{n}", "state": state, "secret": secret} for n, (state, secret) in enumerate(secrets)]
    return json.dumps({"v": 1, "keys": keys})


def beside(state: KeyState, secret: str) -> str:
    """A file in which a key of this state stands beside a good current one, or is the current one."""
    if state is KeyState.CURRENT:
        return key_file((KeyState.PREVIOUS, "p" * 40), (state, secret))
    return key_file((KeyState.CURRENT, "c" * 40), (state, secret))


@pytest.mark.parametrize("name", STRONG)
@pytest.mark.parametrize(("why", "value"), WEAK.items(), ids=WEAK)
def test_a_weak_key_is_named_without_its_value(name: str, why: str, value: str) -> None:
    found = weaknesses({name: f"{value}\n"})
    assert list(found) == [name]
    assert why in found[name]
    assert value not in found[name]


@pytest.mark.parametrize("name", KEY_VARIABLES)
@pytest.mark.parametrize("state", KeyState)
@pytest.mark.parametrize(("why", "value"), WEAK.items(), ids=WEAK)
def test_a_weak_key_of_any_state_is_named_by_its_state(name: str, state: KeyState, why: str, value: str) -> None:
    assert weaknesses({name: beside(state, "g" * 40)}) == {}
    found = weaknesses({name: beside(state, value)})
    assert list(found) == [name]
    assert found[name].startswith(f"holds a key ({state}) that {why}")
    assert value not in found[name]


@pytest.mark.parametrize(("earlier", "later"), list(itertools.combinations(STRONG, 2)))
def test_no_two_variables_may_have_a_key_in_common(earlier: str, later: str) -> None:
    assert weaknesses({earlier: GOOD, later: GOOD}) == {later: f"equals {earlier}; the two must differ"}


@pytest.mark.parametrize(("one", "other"), list(itertools.product(KeyState, KeyState)))
def test_the_states_of_equal_keys_do_not_matter(one: KeyState, other: KeyState) -> None:
    texts = {
        "JWT_SECRET": beside(one, GOOD),
        "SESSION_SECRET": beside(other, GOOD).replace("c" * 40, "d" * 40).replace("p" * 40, "e" * 40),
    }
    assert list(weaknesses(texts)) == ["SESSION_SECRET"]


def test_the_same_key_written_with_and_without_padding_is_the_same() -> None:
    assert list(weaknesses({"JWT_SECRET": "A" * 43, "SESSION_SECRET": "A" * 43 + "="})) == ["SESSION_SECRET"]


def test_32_bytes_are_enough() -> None:
    assert not weaknesses({"JWT_SECRET": GOOD})


def test_base64url_of_32_bytes_counts_as_what_it_decodes_to() -> None:
    assert not weaknesses({"JWT_SECRET": "A" * 43})


@pytest.mark.parametrize("text", ["", "\n", "{", '{"v":1,"keys":[]}', key_file((KeyState.NEXT, GOOD))])
def test_what_is_no_key_file_is_named(text: str) -> None:
    assert weaknesses({"INTERNAL_API_KEY": text}) == {"INTERNAL_API_KEY": "is no key file with exactly one current key"}


def test_a_monitoring_token_is_never_a_key_file() -> None:
    assert not weaknesses({MONITOR: "{" + "t" * 40})


@pytest.mark.parametrize("hole", ["", " ", "\n", "\0", "\x7f", "\u2028"])
def test_a_monitoring_token_that_no_header_can_carry_is_named_without_its_value(hole: str) -> None:
    token = f"{'t' * 40}{hole}{'t' * 40}" if hole else ""
    assert weaknesses({MONITOR: token}) == {MONITOR: NO_TOKEN}
    assert weaknesses({MONITOR: f"{GOOD}\n"}) == {}


@pytest.mark.parametrize("name", KEY_VARIABLES)
def test_a_key_that_is_no_token_may_hold_blanks(name: str) -> None:
    assert weaknesses({name: "a phrase of several words in a row"}) == {}


def test_a_provider_key_may_be_short_and_not_published() -> None:
    assert not weaknesses({"MAILGUN_API_KEY": "key-1", "OPENAI_API_KEY": "key-1"})
    assert list(weaknesses({"MAILGUN_API_KEY": "your-mailgun-api-key"})) == ["MAILGUN_API_KEY"]


def test_variables_are_named_in_the_order_given() -> None:
    texts = {"SESSION_SECRET": "short", "OPENAI_API_KEY": "changeme", "JWT_SECRET": "{"}
    assert list(weaknesses(texts)) == list(texts)
