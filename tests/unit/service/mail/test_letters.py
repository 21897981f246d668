"""The first-contact letter."""

from typing import Any

import pytest
from jinja2 import UndefinedError

from ccl_service.mail.letters import _PLAIN, Facts, Parts, render
from ccl_service.mail.model import FIRST_CONTACT, on_allowlist


def letter(**values: Any) -> Parts:
    facts = {
        "first_name": "Ann",
        "vehicle_interest": None,
        "return_url": "https://loans.example.com/api/r/t",
        "unsubscribe_url": "https://loans.example.com/api/u/t",
        "postal_address": "100 Example Street",
    }
    return render(FIRST_CONTACT, Facts(**(facts | values)))


@pytest.mark.parametrize("part", ["text", "html"])
def test_both_forms_carry_address_return_link_unsubscribe_link_and_say_that_cathy_is_an_ai(part: str) -> None:
    text = getattr(letter(), part)
    for wanted in ("100 Example Street", "/api/r/t", "/api/u/t", "AI assistant"):
        assert wanted in text
    assert text.count("/api/u/t") == 1


def test_nothing_a_person_typed_becomes_markup() -> None:
    html = letter(first_name="<b>Ann</b>", vehicle_interest="<script>").html
    assert "<b>" not in html
    assert "<script>" not in html


def test_a_subject_is_one_line_whatever_the_name() -> None:
    assert "\n" not in letter(first_name="Ann\nBcc: x@example.com").subject


def test_nothing_is_said_about_a_vehicle_nobody_named() -> None:
    assert " for a" not in letter().text.split(".")[0]
    assert "for a used Corolla" in letter(vehicle_interest="a used Corolla").text


def test_a_name_that_no_fact_holds_is_an_error_not_a_gap() -> None:
    with pytest.raises(UndefinedError):
        _PLAIN.from_string("{{ missing }}").render({})


@pytest.mark.parametrize(
    ("listed", "allowed"),
    [((), False), (("*",), True), (("@example.com",), True), (("@ample.com",), False), (("ANN@example.com",), True)],
)
def test_the_allow_list_takes_addresses_domains_and_a_star(listed: tuple[str, ...], allowed: bool) -> None:
    assert on_allowlist("ann@Example.com", listed) is allowed
