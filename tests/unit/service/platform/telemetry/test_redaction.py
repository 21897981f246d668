"""What a log line may say, and what it must not."""

import ast
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ccl_service
from ccl_service.platform.problems import ValidationFailed
from ccl_service.platform.telemetry import redaction

SECRET = "Zk3vQ9xW1rT7yU5iO0pA2sD4fG6hJ8kL"
LEAKS = [
    "jane.roe+car@mail.example.com",
    "JANE@EXAMPLE.CO.UK",
    "+1 (415) 555-0132",
    "4155550132",
    "415-555-0132",
    "078-05-1120",
    "4111 1111 1111 1111",
    "sk-proj-abcdefghijklmnop",
    "key-0123456789abcdef0123456789abcdef",
    "ccl_ab12cd34_" + SECRET,
    "Bearer " + SECRET,
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
    "0123456789abcdef0123456789abcdef01234567",
]


@pytest.mark.parametrize("leak", LEAKS)
@pytest.mark.parametrize("frame", ["{}", "sent to {}.", "value={}, next", '("{}")'])
def test_free_text_is_scrubbed(leak: str, frame: str) -> None:
    shown = redaction.scrub(frame.format(leak))
    assert leak not in shown
    assert leak.split("@", maxsplit=1)[0][-10:] not in shown


@pytest.mark.parametrize(
    ("text", "gone"),
    [
        ("postgresql://ccl:hunter2@db.example:5432/ccl", "hunter2"),
        ("password=hunter2 host=db", "hunter2"),
        ("token: abc123", "abc123"),
    ],
)
def test_credentials_inside_of_text_are_scrubbed(text: str, gone: str) -> None:
    assert gone not in redaction.scrub(text)


@pytest.mark.parametrize(
    "text",
    [
        "request failed",
        "2026-11-24T03:45:59.123Z",
        "http:429",
        "/api/leads/{id}/timeline",
        "5f0c9a4e-6d3b-4a55-9a7e-2f1d8f6f6f6f",
        "pod ccl-web-1a2b3c4d5e-abcde",
        "took 1234 ms",
    ],
)
def test_ordinary_text_stays(text: str) -> None:
    assert redaction.scrub(text) == text


@given(st.text(min_size=1), st.text(alphabet="abcdefghijklmnopqrstuvwxyz_", min_size=1))
def test_text_under_a_name_that_is_not_listed_never_passes(text: str, name: str) -> None:
    if name not in redaction.TEXT_FIELDS:
        assert redaction.value(name, text) == redaction.MASK


@given(st.lists(st.lists(st.text(min_size=1))))
def test_text_inside_of_lists_never_passes(texts: list[list[str]]) -> None:
    shown = redaction.value("payload", texts)
    assert shown == [[redaction.MASK for _ in inner] for inner in texts]


@pytest.mark.parametrize("name", ["event", "reason", "payload"])
def test_mappings_never_pass_whatever_their_keys_are_called(name: str) -> None:
    assert redaction.value(name, {"state": "Jane", "id": "jane@example.com"}) == redaction.MASK


def test_objects_that_are_no_plain_values_never_pass() -> None:
    class Person:
        def __repr__(self) -> str:
            return "Jane"

    assert redaction.value("event", Person()) == redaction.MASK
    assert redaction.value("event", b"Jane") == redaction.MASK


def test_the_message_of_a_foreign_exception_is_left_out_and_its_place_stays() -> None:
    try:
        int("Jane Roe")
    except ValueError as exc:
        shown = redaction.describe(exc)
    assert "Jane" not in json.dumps(shown)
    assert shown[0]["type"] == "builtins.ValueError"
    assert "test_the_message_of_a_foreign_exception" in shown[0]["frames"][0]


def test_the_causes_of_an_exception_are_told_in_order() -> None:
    try:
        try:
            raise KeyError("Jane")
        except KeyError as exc:
            raise ValidationFailed([], "the body is wrong") from exc
    except ValidationFailed as exc:
        shown = redaction.describe(exc)
    assert [one["type"].rsplit(".", 1)[-1] for one in shown] == ["ValidationFailed", "KeyError"]
    assert shown[0]["message"] == "the body is wrong"
    assert "Jane" not in json.dumps(shown)


def test_long_text_is_cut() -> None:
    assert len(redaction.scrub("a b " * 10_000)) <= redaction.MOST_CHARACTERS + 1


def test_every_text_field_that_the_service_logs_is_listed() -> None:
    """A name that is not listed shows as a mask: list it, or log a number."""
    numbers = {"exc_info", "forged", "in_flight", "keys", "places", "rows", "seconds", "soft", "usable", "waiting"}
    root = Path(ccl_service.__file__).parent
    used: dict[str, str] = {}
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and _is_log(node.func):
                used |= {k.arg: f"{path.name}:{node.lineno}" for k in node.keywords if k.arg and k.arg not in numbers}
    hidden = redaction.unlisted(name for name in used if not name.endswith(("_s", "_ms", "_bytes", "_count")))
    assert not hidden, {name: used[name] for name in hidden}


def _is_log(func: ast.expr) -> bool:
    methods = {"debug", "info", "warning", "error", "exception"}
    return (
        isinstance(func, ast.Attribute)
        and func.attr in methods
        and isinstance(func.value, ast.Name)
        and func.value.id == "log"
    )
