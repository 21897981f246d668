"""Key files: the generated keys as the operator writes them and the service reads them.

A file holds a short list of keys. Verify with all of them, sign with the one that is ``current``.
"""

import base64
import binascii
from enum import StrEnum
from typing import Self

from pydantic import AwareDatetime, Field, SecretStr, field_serializer, model_validator

from ccl_contract.document import Document, Part

#: Files of the Secret ``<name>-keys``, in the order in which they are rendered.
INTERNAL_API, JWT, SESSION = "internal-api.json", "jwt.json", "session.json"
DEPLOYMENT_ID = "deployment-id"
KEY_BYTES = 32


class KeyState(StrEnum):
    """Where a key stands in its rotation."""

    NEXT = "next"
    CURRENT = "current"
    PREVIOUS = "previous"


class Key(Part):
    """One key. ``secret`` is base64url of 32 bytes when generated, any text when a person supplied it."""

    id: str = Field(min_length=1, max_length=64)
    state: KeyState
    secret: SecretStr = Field(min_length=1)
    since: AwareDatetime | None = None

    @field_serializer("secret")
    def _reveal(self, secret: SecretStr) -> str:
        return secret.get_secret_value()


class KeyFile(Document):
    """A key file. Exactly one key is current and ids are unique."""

    keys: tuple[Key, ...] = Field(min_length=1, max_length=64)

    @model_validator(mode="after")
    def _one_current(self) -> Self:
        if sum(key.state is KeyState.CURRENT for key in self.keys) != 1:
            raise ValueError("exactly one key must be current")
        if len({key.id for key in self.keys}) != len(self.keys):
            raise ValueError("key ids must be unique")
        return self

    @property
    def current(self) -> Key:
        """The key to sign with."""
        return next(key for key in self.keys if key.state is KeyState.CURRENT)

    @property
    def ids(self) -> tuple[str, ...]:
        """All key ids, in file order."""
        return tuple(key.id for key in self.keys)


def parse_key_file(text: str) -> KeyFile:
    """Read a key file. Text that does not start with ``{`` is one ``current`` key with the id ``static``.

    Raises ValueError (pydantic's ValidationError is one) when the document is malformed; the error holds no secret.
    """
    stripped = text.strip()
    if stripped.startswith("{"):
        return KeyFile.model_validate_json(stripped)
    return _single_key(stripped)


def token_key(text: str) -> KeyFile:
    """A token, which is sent in a header and never a key file, as one ``current`` key with the id ``static``.

    Raises ValueError when it is empty or holds a blank or a control character; the error holds no secret.
    """
    token = text.strip()
    if " " in token or not token.isprintable():
        raise ValueError("a token holds neither blanks nor control characters")
    return _single_key(token)


def _single_key(secret: str) -> KeyFile:
    return KeyFile(keys=(Key(id="static", state=KeyState.CURRENT, secret=SecretStr(secret)),))


def key_bytes(secret: str) -> bytes:
    """The bytes a secret stands for: base64url-decoded when it is that of exactly 32 bytes, else its UTF-8 text."""
    try:
        decoded = base64.urlsafe_b64decode(secret + "=" * (-len(secret) % 4))
    except (binascii.Error, ValueError):
        return secret.encode()
    return decoded if len(decoded) == KEY_BYTES else secret.encode()
