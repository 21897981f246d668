"""How the end of the service's audit chain is written down: in logs, by the API, in a backup's manifest."""

from typing import Final

#: Bytes of the hash that the text shows: enough that nobody finds another chain with the same, and short enough not to
#: be taken for a secret by whatever masks logs.
SHOWN_BYTES: Final = 16


def head_text(seq: int, digest: bytes) -> str:
    """``<seq>:<32 hex digits>``, what ``ccl-service audit verify --expect-head`` takes."""
    return f"{seq}:{digest[:SHOWN_BYTES].hex()}"
