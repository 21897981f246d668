"""No sentence promises approval or a rate, or denies being an AI; honest sentences pass unchanged."""

import pytest

from ccl_service.agents import stand_in
from ccl_service.agents.guardrail import INSTEAD, Violation, check
from ccl_service.agents.realtime_chat import GREETING
from hack.fakes.script import DEFAULT


@pytest.mark.parametrize(
    ("sentence", "violation"),
    [
        ("You are approved!", Violation.PROMISES_APPROVAL),
        ("Good news, you're pre-approved.", Violation.PROMISES_APPROVAL),
        ("You will definitely be approved.", Violation.PROMISES_APPROVAL),
        ("I guarantee you a loan.", Violation.PROMISES_APPROVAL),
        ("Approval is guaranteed with us.", Violation.PROMISES_APPROVAL),
        ("Everyone gets approved here.", Violation.PROMISES_APPROVAL),
        ("You'll certainly qualify.", Violation.PROMISES_APPROVAL),
        ("I can't see why not, you are approved.", Violation.PROMISES_APPROVAL),
        ("Your rate will be 4.9%.", Violation.PROMISES_RATE),
        ("Expect an APR of 7 percent.", Violation.PROMISES_RATE),
        ("We will get you the lowest rate.", Violation.PROMISES_RATE),
        ("I am a real person.", Violation.DENIES_AI),
        ("I\u2019m not a bot.", Violation.DENIES_AI),
        ("No, I'm human.", Violation.DENIES_AI),
    ],
)
def test_a_sentence_that_breaks_a_rule_is_replaced_by_the_truth(sentence: str, violation: Violation) -> None:
    checked = check(sentence)
    assert checked.violation is violation
    assert checked.text == INSTEAD[violation]


@pytest.mark.parametrize(
    "sentence",
    [
        "I cannot guarantee an approval.",
        "I can't promise you are approved, the lender decides.",
        "Lenders look at income too, so many people do qualify.",
        "The rate depends on the lender.",
        "Putting 10% down can help.",
        "I'm not a human, I am an AI.",
        "A specialist can go through it with you.",
    ],
)
def test_an_honest_sentence_passes_unchanged(sentence: str) -> None:
    checked = check(sentence)
    assert checked.violation is None
    assert checked.text == sentence


def test_nothing_that_we_say_ourselves_breaks_a_rule() -> None:
    own = [value for name, value in vars(stand_in).items() if name.isupper() and isinstance(value, str)]
    own += [text for _, text in stand_in._TOPICS]
    own += [*INSTEAD.values(), GREETING, *(rule.reply["reply"] for rule in DEFAULT)]
    assert len(own) > 12
    for text in own:
        assert check(text).violation is None, text
