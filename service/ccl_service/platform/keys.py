"""The keys a process holds: read from values or files, re-read while running, one derived key per token purpose.

Files and their rotation states belong to ``ccl_contract.keys``; what a token says belongs to whoever signs it.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from ccl_contract.keys import Key, KeyFile, key_bytes, parse_key_file, token_key
from ccl_contract.readiness import KeyIds
from ccl_contract.strength import MONITOR, key_weaknesses
from ccl_service.platform.problems import Unauthenticated

#: How often key files are looked at.
RELOAD_SECONDS: Final = 5.0


class KeyName(StrEnum):
    """The three rotating keys."""

    INTERNAL_API = "internal_api"
    JWT = "jwt"
    SESSION = "session"


KEY_VARIABLES: Final[Mapping[KeyName, str]] = {
    KeyName.INTERNAL_API: "INTERNAL_API_KEY",
    KeyName.JWT: "JWT_SECRET",
    KeyName.SESSION: "SESSION_SECRET",
}


#: The monitoring token among the keys; it neither rotates by states nor signs.
_MONITOR: Final = "monitor"
_VARIABLES: Final[Mapping[str, str]] = {**{n.value: v for n, v in KEY_VARIABLES.items()}, _MONITOR: MONITOR}


@dataclass(frozen=True, slots=True)
class KeySource:
    """Where a key comes from: exactly one of a value and a file."""

    value: str | None = field(default=None, repr=False)
    file: Path | None = None

    def read(self) -> str:
        """The current text. Raises OSError or UnicodeDecodeError for a file that cannot be read."""
        if self.file is not None:
            return self.file.read_text()
        return self.value or ""


def hkdf_sha256(secret: bytes, info: bytes) -> bytes:
    """32 bytes derived from ``secret`` for ``info``: RFC 5869 with an empty salt and one block."""
    extracted = hmac.digest(bytes(32), secret, hashlib.sha256)
    return hmac.digest(extracted, info + b"\x01", hashlib.sha256)


def b64encode(data: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def b64decode(text: str) -> bytes:
    """The reverse of ``b64encode``. Raises ValueError."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as exc:
        raise ValueError("not base64url") from exc


class KeyRing:
    """Verify with every key, sign with the current one. Keeps the last good set when a file becomes unreadable."""

    def __init__(
        self,
        sources: Mapping[KeyName, KeySource],
        *,
        monitor: Path | None = None,
        on_unreadable: Callable[[str], None] = lambda _: None,
    ) -> None:
        """``on_unreadable`` is told the key's name each time its file cannot be used.

        Raises OSError or ValueError when a source is unusable at the start.
        """
        self._sources: dict[str, KeySource] = {name.value: source for name, source in sources.items()}
        if monitor:
            self._sources[_MONITOR] = KeySource(file=monitor)
        self._on_unreadable = on_unreadable
        self._sets = {name: _parse(name, source.read()) for name, source in self._sources.items()}
        self._derived: dict[tuple[KeyName, str, str], bytes] = {}

    def ids(self) -> KeyIds:
        """The key ids held, which the operator compares with what it wrote."""
        return KeyIds(**{name.value: self._sets[name].ids for name in KeyName if name in self._sets})

    def refresh(self) -> None:
        """Read the files again. What cannot be read or parsed, and a key that is too weak, leave the set as it is.

        The strength rule holds here in every environment: a weak key in place of a good one is a slip of an editor.
        """
        for name, source in self._sources.items():
            if source.file is None:
                continue
            try:
                keys = _parse(name, source.read())
            except (OSError, ValueError):
                self._on_unreadable(name)
                continue
            if keys == self._sets[name]:
                continue
            if self._weaker(name, keys):
                self._on_unreadable(name)
                continue
            self._sets[name] = keys
            self._derived.clear()

    def _weaker(self, name: str, keys: KeyFile) -> bool:
        """Whether the keys bring a weakness that is not there already, equality with another key included."""
        others = {_VARIABLES[n]: held for n, held in self._sets.items() if n != name}
        return bool(key_weaknesses({**others, _VARIABLES[name]: keys}).keys() - key_weaknesses(others).keys())

    async def run(self, stop: asyncio.Event) -> None:
        """Look at the files every 5 s until ``stop``."""
        while not stop.is_set():
            try:
                await asyncio.wait_for(stop.wait(), RELOAD_SECONDS)
            except TimeoutError:
                # a mounted Secret is a local file of a few hundred bytes: reading it does not hold the loop up
                self.refresh()

    def is_root(self, presented: str) -> bool:
        """Whether ``presented`` is one of the internal API keys, compared in constant time against all of them."""
        return self.root_key_id(presented) is not None

    def root_key_id(self, presented: str) -> str | None:
        """The id of the internal API key that ``presented`` is; None when it is none of them."""
        found = None
        for key in self._keys(KeyName.INTERNAL_API):
            found = key.id if _same(presented, key.secret.get_secret_value()) else found
        return found

    def is_monitor(self, presented: str) -> bool:
        """Whether ``presented`` is the monitoring token."""
        return any(_same(presented, key.secret.get_secret_value()) for key in self._keys(_MONITOR))

    def sign(self, purpose: str, payload: bytes, *, name: KeyName = KeyName.JWT) -> str:
        """A token ``<payload>.<key id>.<MAC>`` that only ``verify`` with the same purpose accepts.

        The payload is readable by whoever holds the token; time limits belong into it.
        """
        key = self._sets[name].current
        head = f"{b64encode(payload)}.{b64encode(key.id.encode())}"
        return f"{head}.{b64encode(self._mac(name, key, purpose, head))}"

    def verify(self, purpose: str, token: str, *, name: KeyName = KeyName.JWT) -> bytes:
        """The payload of a token that was signed for ``purpose``. Raises Unauthenticated."""
        head, _, mac = token.rpartition(".")
        body, _, key_id = head.rpartition(".")
        try:
            given, payload, wanted = b64decode(mac), b64decode(body), b64decode(key_id).decode()
        except ValueError as exc:
            raise Unauthenticated("the token is malformed") from exc
        key = next((k for k in self._keys(name) if k.id == wanted), None)
        if key is None or not hmac.compare_digest(given, self._mac(name, key, purpose, head)):
            raise Unauthenticated("the token is not valid")
        return payload

    def digest(self, purpose: str, data: bytes, *, name: KeyName = KeyName.JWT) -> bytes:
        """A keyed digest of 32 bytes under the current key."""
        return self._mac(name, self._sets[name].current, purpose, data.hex())

    def derived(self, purpose: str, *, name: KeyName = KeyName.JWT) -> Mapping[str, bytes]:
        """The keys for ``purpose`` by an id that two different secrets never share, the current one first.

        A key given as a plain value always has the id ``static``; the fingerprint behind it tells its values apart.
        """
        current = self._sets[name].current
        ordered = (current, *(key for key in self._keys(name) if key != current))
        found = ((key.id, self._derive(name, key, purpose)) for key in ordered)
        return {f"{key_id}.{hashlib.sha256(secret).hexdigest()[:8]}": secret for key_id, secret in found}

    def _keys(self, name: str) -> tuple[Key, ...]:
        held = self._sets.get(name)
        return held.keys if held else ()

    def _mac(self, name: KeyName, key: Key, purpose: str, message: str) -> bytes:
        return hmac.digest(self._derive(name, key, purpose), message.encode(), hashlib.sha256)

    def _derive(self, name: KeyName, key: Key, purpose: str) -> bytes:
        at = (name, key.id, purpose)
        derived = self._derived.get(at)
        if derived is None:
            derived = hkdf_sha256(key_bytes(key.secret.get_secret_value()), f"ccl/v1/{purpose}".encode())
            self._derived[at] = derived
        return derived


def _parse(name: str, text: str) -> KeyFile:
    return token_key(text) if name == _MONITOR else parse_key_file(text)


def _same(presented: str, secret: str) -> bool:
    """Constant-time comparison. aiohttp hands on header bytes that are not UTF-8 as lone surrogates."""
    return hmac.compare_digest(presented.encode("utf-8", "surrogateescape"), secret.encode())
