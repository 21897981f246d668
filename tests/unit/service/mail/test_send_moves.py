"""The table of a send: complete, and indifferent to the order of facts."""

import itertools
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccl_service.mail.model import RANK, SAYS, SendEvent, SendState, after

S, E = SendState, SendEvent


def test_every_state_but_suppressed_and_cancelled_answers_every_fact() -> None:
    silent = {state for state, event in itertools.product(S, SAYS) if after(state, event) is None}
    assert silent == {S.SUPPRESSED, S.CANCELLED}


@given(st.lists(st.sampled_from(sorted(SAYS)), min_size=1), st.randoms())
def test_any_order_and_repetition_of_the_same_facts_ends_in_the_same_state(
    facts: list[SendEvent], random: Random
) -> None:
    def end(order: list[SendEvent]) -> SendState | None:
        state: SendState | None = S.SENDING
        for fact in order:
            assert state is not None
            state = after(state, fact)
        return state

    shuffled = facts * 2
    random.shuffle(shuffled)
    assert end(shuffled) == end(facts)


@given(st.sampled_from(sorted(RANK)), st.sampled_from(sorted(SAYS)))
def test_a_fact_never_takes_a_send_back(state: SendState, fact: SendEvent) -> None:
    moved = after(state, fact)
    assert moved is not None
    assert RANK[moved] >= RANK[state]


def test_a_late_missing_answer_does_not_undo_delivered() -> None:
    assert after(S.DELIVERED, E.NO_ANSWER) is S.DELIVERED


def test_a_delivery_corrects_a_refusal_and_an_unknown() -> None:
    assert after(S.FAILED, E.DELIVER) is after(S.UNKNOWN, E.DELIVER) is S.DELIVERED


@pytest.mark.parametrize("event", [E.REQUEST, E.SUPPRESS, E.CANCEL])
def test_only_a_queued_send_may_begin_or_be_called_off(event: SendEvent) -> None:
    assert [state for state in S if after(state, event)] == [S.QUEUED]


def test_nothing_but_a_provable_refusal_to_take_it_leads_back_to_the_queue() -> None:
    ways = [(state, event) for state in S for event in E if after(state, event) is S.QUEUED and state is not S.QUEUED]
    assert ways == [(S.SENDING, E.TRY_LATER), (S.UNKNOWN, E.NOT_TAKEN)]
