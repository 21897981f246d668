"""What the chain is made of, without a database."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccl_service.platform.audit.model import GENESIS, Entry, Head, Kind, Macs, canonical, chain, row_content
from ccl_service.platform.telemetry.redaction import value

KEYS = {"a.1": b"1" * 32, "b.2": b"2" * 32}
ENTRY = Entry(
    event=UUID("00000000-0000-4000-8000-000000000001"),
    at=datetime(2026, 11, 24, 3, 0, tzinfo=UTC),
    principal_kind="root",
    principal_id="internal-api",
    key_id="static",
    request_id="request-1",
    client=None,
    action="keys:create",
    object_kind="api_key",
    object_id="k1",
    objects=1,
    changes={"name": "00"},
    mac_key="a.1",
)


@pytest.mark.parametrize(
    "changed",
    [
        {"action": "keys:revoke"},
        {"object_id": "k2"},
        {"changes": {"name": "01"}},
        {"changes": {}},
        {"principal_id": "other"},
        {"key_id": None},
        {"client": "c"},
        {"at": ENTRY.at + timedelta(microseconds=1)},
        {"objects": 2},
        {"request_id": None},
        {"mac_key": "b.2"},
        {"event": UUID("00000000-0000-4000-8000-000000000002")},
    ],
)
def test_every_field_of_a_row_counts_for_its_mac_and_its_hash(changed: dict[str, object]) -> None:
    other = replace(ENTRY, **changed)  # type: ignore[arg-type]
    assert row_content(other) != row_content(ENTRY)
    assert chain(GENESIS, 1, other, seq=1, proven=True) != chain(GENESIS, 1, ENTRY, seq=1, proven=True)


def test_the_place_and_what_stands_before_count_for_the_hash() -> None:
    first = chain(GENESIS, 1, ENTRY, seq=1, proven=True)
    assert len({first, chain(GENESIS, 1, ENTRY, seq=2, proven=True), chain(first, 1, ENTRY, seq=1, proven=True)}) == 3
    assert chain(GENESIS, 1, ENTRY, seq=1, proven=False) != first
    assert chain(GENESIS, 2, ENTRY, seq=1, proven=True) != first


def test_the_zone_in_which_the_driver_returns_a_moment_does_not_matter() -> None:
    elsewhere = replace(ENTRY, at=ENTRY.at.astimezone(timezone(timedelta(hours=-6))))
    assert row_content(elsewhere) == row_content(ENTRY)


def test_a_mac_of_one_kind_is_none_of_another() -> None:
    macs = Macs(KEYS)
    mac = macs.make(Kind.ROW, b"same")
    assert macs.check(Kind.ROW, b"same", "a.1", mac) is True
    assert macs.check(Kind.SEAL, b"same", "a.1", mac) is False
    assert macs.check(Kind.ROW, b"same", "b.2", mac) is False


def test_a_mac_under_a_key_that_is_not_held_is_neither_right_nor_wrong() -> None:
    assert Macs(KEYS).check(Kind.ROW, b"x", "gone.3", b"") is None


def test_a_digest_tells_fields_and_keys_apart_and_hides_the_value() -> None:
    macs = Macs(KEYS)
    assert macs.digest("email", "ann@example.com") == macs.digest("email", "ann@example.com")
    other = Macs({"b.2": KEYS["b.2"]})
    assert len({m.digest(f, "ann@example.com") for m in (macs, other) for f in ("email", "name")}) == 4
    assert len(macs.digest("email", None)) == 32


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=5)))
def test_the_order_of_fields_does_not_count(changes: dict[str, str]) -> None:
    assert canonical(changes) == canonical(dict(reversed(changes.items())))


def test_a_heads_text_meets_its_head_and_no_other() -> None:
    head = Head(7, GENESIS)
    kept = Head.parse(str(head))
    assert kept.meets(head)
    assert not kept.meets(Head(8, GENESIS))
    assert not kept.meets(Head(7, bytes(32)))
    assert Head.parse(f"7:{GENESIS.hex()}").meets(head)


def test_what_masks_logs_lets_a_head_through() -> None:
    head = str(Head(123_456_789, GENESIS))
    assert value("head", head) == head


@pytest.mark.parametrize("text", ["", "7", "7:zz", f"x:{GENESIS.hex()}", f"-1:{GENESIS.hex()}", f"7:{GENESIS.hex()}0"])
def test_a_head_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a head is"):
        Head.parse(text)
