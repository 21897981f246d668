"""The one strength rule for secrets, applied by the operator before a pod is made and by the service at start."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from ccl_contract.keys import KEY_BYTES, key_bytes

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

#: Variables that must hold at least 256 bits.
STRONG: Final = ("INTERNAL_API_KEY", "JWT_SECRET", "SESSION_SECRET")


def weaknesses(secrets: Mapping[str, str]) -> Mapping[str, str]:
    """What is wrong with each variable: name → reason, in the order given, empty when all is well.

    ``secrets`` maps variable names to values; absent variables are not judged. No reason holds a value.
    """
    found: dict[str, str] = {}
    for name, value in secrets.items():
        if value in PUBLISHED:
            found[name] = "is a published default; generate a value of your own"
        elif name in STRONG and len(key_bytes(value)) < KEY_BYTES:
            found[name] = f"is shorter than {KEY_BYTES} bytes"
    if "JWT_SECRET" in secrets and secrets["JWT_SECRET"] == secrets.get("SESSION_SECRET"):
        found.setdefault("SESSION_SECRET", "equals JWT_SECRET; the two must differ")
    return MappingProxyType(found)
