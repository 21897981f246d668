"""The state table of conversations."""

import itertools

from ccl_contract.chat import ChatAction
from ccl_service.chat.model import MOVES, ConversationState


def test_every_state_answers_every_action() -> None:
    assert set(MOVES) == set(itertools.product(ConversationState, ChatAction))


def test_a_closed_conversation_stays_closed() -> None:
    assert {MOVES[ConversationState.CLOSED, action] for action in ChatAction} == {ConversationState.CLOSED}


def test_a_wish_for_a_person_is_not_forgotten_by_going_on() -> None:
    assert MOVES[ConversationState.HANDED_OFF, ChatAction.CONTINUE] is ConversationState.HANDED_OFF


def test_the_state_reached_from_open_is_the_one_reached_from_every_state_that_can_move() -> None:
    for state, action in MOVES:
        reached = MOVES[state, action]
        assert reached in {state, MOVES[ConversationState.OPEN, action]}
