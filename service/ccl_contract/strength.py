"""The one strength rule for secrets, applied by the operator before a pod is made and by the service at start.

Whatever a process accepts is judged: every key of a file, not only the one that signs.
"""

from collections.abc import Mapping
from itertools import combinations
from types import MappingProxyType
from typing import Final

from ccl_contract.keys import KEY_BYTES, Key, KeyFile, key_bytes, parse_key_file, token_key

#: Values that were published as examples or defaults and are therefore known to everybody.
PUBLISHED: Final[frozenset[str]] = frozenset(
    {
        "ccl-internal-2025",
        "your-secure-api-key",
        "your-256-bit-jwt-secret",
        "your-256-bit-session-secret",
        "your-mailgun-api-key",
        "your-mailgun-domain",
        "your-openai-api-key",
        "changeme",
    }
)

_PUBLISHED: Final = "is a published default; generate a value of your own"
_NO_KEY_FILE: Final = "is no key file with exactly one current key"
NO_TOKEN: Final = "is no token: it is empty, or holds a blank or a control character"  # noqa: S105 - what is wrong with one
#: The variable of the monitoring token, which is never a key file.
MONITOR: Final = "MONITOR_KEY_FILE"
#: Variables whose keys must have at least 256 bits each and none in common.
STRONG: Final = ("INTERNAL_API_KEY", "JWT_SECRET", "SESSION_SECRET", MONITOR)


def weaknesses(texts: Mapping[str, str]) -> Mapping[str, str]:
    """What is wrong with each variable: name → reason, in the order given, empty when all is well.

    ``texts`` maps variables to their texts, those of ``STRONG`` as they are read (``parse_key_file``, ``token_key``);
    absent variables are not judged. No reason holds a value.
    """
    found: dict[str, str] = {}
    held: dict[str, KeyFile] = {}
    for name, text in texts.items():
        if name not in STRONG:
            found |= {name: _PUBLISHED} if text in PUBLISHED else {}
            continue
        try:
            held[name] = token_key(text) if name == MONITOR else parse_key_file(text)
        except ValueError:
            found[name] = NO_TOKEN if name == MONITOR else _NO_KEY_FILE
    found |= key_weaknesses(held)
    return MappingProxyType({name: found[name] for name in texts if name in found})


def key_weaknesses(held: Mapping[str, KeyFile]) -> Mapping[str, str]:
    """``weaknesses`` of keys that have been read, by variable. Of two that share a key the later one is named."""
    found = {name: why for name, keys in held.items() if (why := _weakness(keys))}
    for earlier, later in combinations(held, 2):
        if _secrets(held[earlier]) & _secrets(held[later]):
            found.setdefault(later, f"equals {earlier}; the two must differ")
    return MappingProxyType({name: found[name] for name in held if name in found})


def _weakness(keys: KeyFile) -> str | None:
    """What is wrong with the first weak key; its state tells which one it is."""
    for key in keys.keys:
        which = "" if len(keys.keys) == 1 else f"holds a key ({key.state}) that "
        if key.secret.get_secret_value() in PUBLISHED:
            return which + _PUBLISHED
        if len(_bytes(key)) < KEY_BYTES:
            return f"{which}is shorter than {KEY_BYTES} bytes"
    return None


def _secrets(keys: KeyFile) -> frozenset[bytes]:
    """By what they stand for: the same key may be written with and without padding."""
    return frozenset(_bytes(key) for key in keys.keys)


def _bytes(key: Key) -> bytes:
    return key_bytes(key.secret.get_secret_value())
