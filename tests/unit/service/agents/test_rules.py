"""What is decided by rule before any model is asked."""

import pytest

from ccl_service.agents.rules import Intent, intent


@pytest.mark.parametrize(
    "text",
    [
        "stop",
        "STOP",
        "Stop.",
        "S.T.O.P!!",
        "quit",
        "end",
        "revoke",
        "opt out",
        "opt-out",
        "Opt me out",
        "cancel",
        "unsubscribe",
        "Unsubscribe please",
        "please stop",
        "please stop texting me",
        "stop emailing me",
        "I want to unsubscribe",
        "I\u2019d like to opt out, thanks",
        "stop all",
        "cancel all messages",
        "stop stop stop",
        "revoke my consent",
        "hi, please unsubscribe me from all emails",
    ],
)
def test_a_message_whose_whole_intent_is_to_opt_out_is_one(text: str) -> None:
    assert intent(text) is Intent.OPT_OUT


@pytest.mark.parametrize(
    "text",
    [
        "when does the sale end",
        "should I cancel my current loan first?",
        "can I stop by the dealer tomorrow",
        "I want to quit my job",
        "the dealer made me cancel",
        "at the end of the month",
        "does the application stop at step 3",
        "hello",
        "",
    ],
)
def test_a_message_that_only_contains_such_a_word_is_answered(text: str) -> None:
    assert intent(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "are you a human?",
        "Are you human?",
        "are you a real person",
        "r u a bot?",
        "are you an AI",
        "is this a robot?",
        "Is this a real person?",
        "am I talking to a machine?",
        "bot?",
        "wait, are you really a person or what",
    ],
)
def test_asking_whether_this_is_a_human_is_recognised(text: str) -> None:
    assert intent(text) is Intent.ASKS_IF_HUMAN


@pytest.mark.parametrize(
    "text",
    [
        "I want to talk to a human",
        "let me speak with someone",
        "can I speak to a real person please",
        "I need an agent",
        "connect me to a representative",
        "agent",
    ],
)
def test_asking_for_a_person_is_recognised(text: str) -> None:
    assert intent(text) is Intent.WANTS_PERSON
