"""The key ring: purposes, rotation, files that go away."""

import json
from pathlib import Path

import pytest

from ccl_contract.readiness import KeyIds
from ccl_service.platform.keys import KeyName, KeyRing, KeySource, hkdf_sha256
from ccl_service.platform.problems import Unauthenticated


def key_file(*keys: tuple[str, str]) -> str:
    return json.dumps({"v": 1, "keys": [{"id": i, "state": s, "secret": f"{i:x<40}"} for i, s in keys]})


def ring(jwt: Path, failures: list[str] | None = None) -> KeyRing:
    sources = {KeyName.JWT: KeySource(file=jwt), KeyName.INTERNAL_API: KeySource(value="r" * 32)}
    return KeyRing(sources, on_unreadable=(failures if failures is not None else []).append)


@pytest.fixture
def jwt(tmp_path: Path) -> Path:
    file = tmp_path / "jwt.json"
    file.write_text(key_file(("k1", "current")))
    return file


def test_a_token_opens_for_its_purpose_only(jwt: Path) -> None:
    keys = ring(jwt)
    token = keys.sign("return", b"payload")
    assert keys.verify("return", token) == b"payload"
    with pytest.raises(Unauthenticated):
        keys.verify("unsubscribe", token)


@pytest.mark.parametrize("position", [0, 8, -1])
def test_a_changed_token_is_refused(jwt: Path, position: int) -> None:
    keys = ring(jwt)
    letters = list(keys.sign("return", b"payload"))
    letters[position] = "A" if letters[position] != "A" else "B"
    with pytest.raises(Unauthenticated):
        keys.verify("return", "".join(letters))


@pytest.mark.parametrize("token", ["", ".", "..", "a.b.c", "ü.ü.ü", "=.=.="])
def test_what_is_no_token_is_refused(jwt: Path, token: str) -> None:
    with pytest.raises(Unauthenticated):
        ring(jwt).verify("return", token)


def test_after_a_rotation_old_tokens_open_and_new_ones_are_signed_with_the_new_key(jwt: Path) -> None:
    keys = ring(jwt)
    old = keys.sign("return", b"old")
    jwt.write_text(key_file(("k1", "previous"), ("k2", "current"), ("k3", "next")))
    keys.refresh()
    assert keys.ids().jwt == ("k1", "k2", "k3")
    assert keys.verify("return", old) == b"old"
    new = keys.sign("return", b"new")
    jwt.write_text(key_file(("k2", "current")))
    keys.refresh()
    assert keys.verify("return", new) == b"new"
    with pytest.raises(Unauthenticated):
        keys.verify("return", old)


@pytest.mark.parametrize("text", ["{", '{"v":1,"keys":[]}', None])
def test_an_unreadable_file_keeps_the_last_good_set_and_is_counted(jwt: Path, text: str | None) -> None:
    failures: list[str] = []
    keys = ring(jwt, failures)
    token = keys.sign("return", b"payload")
    if text is None:
        jwt.unlink()
    else:
        jwt.write_text(text)
    keys.refresh()
    assert failures == ["jwt"]
    assert keys.verify("return", token) == b"payload"


def test_every_root_key_of_the_file_is_accepted(tmp_path: Path) -> None:
    file = tmp_path / "internal-api.json"
    file.write_text(key_file(("a", "previous"), ("b", "current")))
    keys = KeyRing({KeyName.INTERNAL_API: KeySource(file=file)})
    assert keys.is_root(f"{'a':x<40}")
    assert keys.is_root(f"{'b':x<40}")
    assert not keys.is_root(f"{'c':x<40}")
    assert not keys.is_root("é")
    assert not keys.is_root("\udcff")  # how aiohttp hands on the byte 0xff of a header


ONE, TWO = "one".ljust(40, "-"), "two".ljust(40, "-")


def test_the_monitor_token_is_read_again(tmp_path: Path, jwt: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{ONE}\n")
    keys = KeyRing({KeyName.JWT: KeySource(file=jwt)}, monitor=file)
    assert keys.is_monitor(ONE)
    file.write_text(f"{TWO}\n")
    keys.refresh()
    assert (keys.is_monitor(ONE), keys.is_monitor(TWO), keys.is_monitor("")) == (False, True, False)
    assert keys.ids() == KeyIds(jwt=("k1",))


@pytest.mark.parametrize("text", ["", "changeme", "short", "r" * 40, "t " * 40])
def test_a_weak_monitor_token_or_one_that_is_a_root_key_is_not_taken_over(tmp_path: Path, text: str) -> None:
    file, failures = tmp_path / "token", list[str]()
    file.write_text(ONE)
    root = {KeyName.INTERNAL_API: KeySource(value="r" * 40)}
    keys = KeyRing(root, monitor=file, on_unreadable=failures.append)
    file.write_text(text)
    keys.refresh()
    assert keys.is_monitor(ONE)
    assert failures == ["monitor"]


def test_derivation_follows_rfc_5869() -> None:
    # RFC 5869, test case 3: 22 bytes of 0x0b, no salt, no info; the first 32 bytes of its output
    expected = "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
    assert hkdf_sha256(b"\x0b" * 22, b"").hex() == expected


WEAK = {
    "empty": "",
    "a line break": "\n",
    "too short": "x\n",
    "a published default": "ccl-internal-2025",
    "an empty secret": json.dumps({"v": 1, "keys": [{"id": "k2", "state": "current", "secret": ""}]}),
    "a weak successor": key_file(("k1", "current")).replace(
        "]", ', {"id": "k2", "state": "next", "secret": "changeme"}]'
    ),
    "a weak predecessor": key_file(("k1", "current")).replace(
        "]", ', {"id": "k0", "state": "previous", "secret": "ccl-internal-2025"}]'
    ),
    "another purpose's key": "s" * 40,
    "another purpose's key to come": key_file(("k1", "current")).replace(
        "]", f', {{"id": "k2", "state": "next", "secret": "{"s" * 40}"}}]'
    ),
}


@pytest.mark.parametrize("content", WEAK.values(), ids=WEAK.keys())
def test_a_weak_key_that_appears_in_a_file_leaves_the_good_set(jwt: Path, tmp_path: Path, content: str) -> None:
    failures: list[str] = []
    sources = {KeyName.JWT: KeySource(file=jwt), KeyName.SESSION: KeySource(value="s" * 40)}
    keys = KeyRing(sources, on_unreadable=failures.append)
    token = keys.sign("visitor", b"payload")
    jwt.write_text(content)
    keys.refresh()
    assert keys.verify("visitor", token) == b"payload"
    assert (keys.ids().jwt, failures) == (("k1",), ["jwt"])


def test_an_emptied_root_key_file_opens_nothing(tmp_path: Path) -> None:
    file = tmp_path / "root"
    file.write_text("r" * 40)
    keys = KeyRing({KeyName.INTERNAL_API: KeySource(file=file)})
    file.write_text("")
    keys.refresh()
    assert keys.is_root("r" * 40)
    assert not keys.is_root("")
