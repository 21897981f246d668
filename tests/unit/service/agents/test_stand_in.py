"""The rule-based Cathy keeps the conversation useful and collects the phone number."""

import pytest

from ccl_contract.chat import ChatAction
from ccl_service.agents.model import Line, Situation, Speaker
from ccl_service.agents.stand_in import ASK_CONSENT, ASK_PHONE, answer, find_phone


def situation(*texts: str, phone_known: bool = False) -> Situation:
    """Lines in turn, the last one the visitor's."""
    speakers = [Speaker.VISITOR if (len(texts) - n) % 2 else Speaker.AGENT for n in range(len(texts))]
    return Situation(tuple(map(Line, speakers, texts)), phone_known=phone_known)


@pytest.mark.parametrize(
    "text", ["hello", "my credit is bad", "what is the rate", "will I be approved", "I need a truck"]
)
def test_every_answer_asks_for_the_number_as_long_as_none_is_known(text: str) -> None:
    assert answer(situation(text)).text.endswith(ASK_PHONE)
    assert ASK_PHONE not in answer(situation(text, phone_known=True)).text


def test_a_number_given_when_asked_for_is_taken_with_consent() -> None:
    said = answer(situation(f"Hi. {ASK_PHONE}", "(217) 555-0142"))
    assert said.phone == "(217) 555-0142"


def test_a_number_out_of_the_blue_is_taken_only_after_asking() -> None:
    first = "mine is 217-555-0142"
    asked = answer(situation("Hello.", first))
    assert asked.phone is None
    assert ASK_CONSENT in asked.text
    agreed = answer(situation("Hello.", first, asked.text, "yes"))
    assert agreed.phone == "217-555-0142"
    assert answer(situation("Hello.", first, asked.text, "no")).phone is None


def test_a_number_with_the_wish_not_to_be_called_is_not_taken() -> None:
    assert answer(situation(ASK_PHONE, "217-555-0142 but don't call me")).phone is None


def test_good_bye_closes_the_conversation() -> None:
    assert answer(situation("thanks, bye")).action is ChatAction.CLOSE
    assert answer(situation("thanks, and what about my credit score?")).action is ChatAction.CONTINUE


@pytest.mark.parametrize(
    ("text", "phone"),
    [("call 217.555.0142 now", "217.555.0142"), ("+1 217 555 0142", "+1 217 555 0142"), ("I make 3400 a month", None)],
)
def test_a_phone_number_is_found_as_it_is_written(text: str, phone: str | None) -> None:
    assert find_phone(text) == phone
