"""Normal forms, the life-cycle table, the marks on personal fields."""

from itertools import pairwise
from typing import Any

import pytest
from pydantic import ValidationError

from ccl_service.leads.model import (
    MOVES,
    OPEN,
    LeadDraft,
    LeadState,
    identities,
    identity,
    normal_phone,
    personal_fields,
)

S = LeadState


def draft(**values: Any) -> LeadDraft:
    return LeadDraft.model_validate({"first_name": "Ann", "email": "ann@example.com"} | values)


@pytest.mark.parametrize("text", ["(312) 555-0142", "312.555.0142", "+1 312 555 0142", "13125550142", "312-555-0142 x"])
def test_spellings_of_a_number_are_one_number(text: str) -> None:
    assert normal_phone(text) == "+13125550142"


def test_spellings_of_an_address_are_one_identity() -> None:
    first, second = draft(email=" Ann@EXAMPLE.com"), draft(email="ANN@example.com ")
    assert first.email == "Ann@example.com"
    assert identities(first.email, None) == identities(second.email, None)


def test_a_number_and_an_address_never_share_an_identity() -> None:
    assert identity("email", "x").value_hash != identity("phone", "x").value_hash


def test_names_are_composed_and_trimmed() -> None:
    assert draft(first_name="  Jose\u0301   Luis ").first_name == "Jos\u00e9 Luis"


@pytest.mark.parametrize("field", ["first_name", "last_name", "vehicle_interest", "external_id"])
def test_no_text_field_keeps_a_social_security_number(field: str) -> None:
    assert getattr(draft(**{field: "Ann 078-05-1120"}), field) == "Ann [redacted]"


def test_a_zip_plus_four_keeps_five_digits() -> None:
    assert draft(zip="60601-1234").zip == "60601"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("email", "ann@localhost"),
        ("email", "jos\u00e9@example.com"),
        ("phone", "911"),
        ("phone", "call me"),
        ("zip", "2139"),
        ("zip", "606011"),
        ("zip", "\u0661\u0662\u0663\u0664\u0665"),
        ("first_name", "-"),
        ("first_name", "A\x00nn"),
        ("vehicle_interest", "x" * 401),
        ("requested_at", "2026-11-23T10:00:00"),
        ("source", "carrier pigeon"),
        ("favourite_colour", "red"),
    ],
)
def test_what_cannot_be_normalised_is_refused_without_repeating_it(field: str, value: str) -> None:
    with pytest.raises(ValidationError) as caught:
        draft(**{field: value})
    assert [error["loc"][0] for error in caught.value.errors()] == [field]
    assert value not in str(caught.value)


def test_a_person_who_cannot_be_reached_is_refused() -> None:
    with pytest.raises(ValidationError, match="contact_missing"):
        LeadDraft(first_name="Ann")


def test_every_state_has_a_row_in_the_life_cycle() -> None:
    assert set(MOVES) == set(LeadState)


def test_nobody_becomes_new_again_and_nothing_leaves_an_end() -> None:
    assert MOVES[S.NEW] == frozenset()
    ends = set(LeadState) - OPEN
    assert ends == {S.CLOSED, S.UNREACHABLE, S.OPTED_OUT}
    assert not any(before & ends for before in MOVES.values())


def test_the_way_of_a_lead_that_is_won_back_and_of_one_that_is_refused() -> None:
    way = (S.NEW, S.CONTACTED, S.ENGAGED, S.QUALIFIED, S.SUBMITTED, S.ACCEPTED, S.CLOSED)
    assert all(before in MOVES[after] for before, after in pairwise(way))
    way = (S.SUBMITTED, S.REJECTED, S.QUALIFIED)
    assert all(before in MOVES[after] for before, after in pairwise(way))
    assert S.NEW in MOVES[S.QUALIFIED]


def test_every_open_state_may_end_in_every_end() -> None:
    assert all(MOVES[end] == OPEN for end in (S.CLOSED, S.UNREACHABLE, S.OPTED_OUT))


def test_personal_fields_are_marked_nested_ones_too() -> None:
    marked = personal_fields(LeadDraft)
    assert {"first_name", "email", "phone", "zip", "consent.ip", "finance.monthly_income_usd"} <= marked
    assert not {"source", "external_id", "requested_at"} & marked
