"""One bounded HTTP call to a provider, for checks. Never raises for what the network or the provider does."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp

from ccl_service.platform.checks.verdict import WARN, Verdict

#: Seconds for one call, connecting included; below ``remembered.PATIENCE``.
CALL_SECONDS: Final = 2.0
MOST_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer. ``body`` is its JSON object, empty when there is none; it may quote a key and is never shown."""

    status: int
    body: Mapping[str, Any] = field(default_factory=dict, repr=False)


async def call(session: aiohttp.ClientSession, method: str, url: str, *, authorization: str) -> Reply | None:
    """Send an empty request; None without a complete answer in ``CALL_SECONDS``."""
    timeout = aiohttp.ClientTimeout(total=CALL_SECONDS)
    headers = {"Authorization": authorization}
    try:
        async with session.request(method, url, headers=headers, timeout=timeout, allow_redirects=False) as response:
            return Reply(response.status, _object(await response.content.read(MOST_BYTES)))
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
        return None


def _object(raw: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def trouble(provider: str, reply: Reply | None) -> Verdict:
    """What an answer says that proves nothing about our side: absent, refused for now, an error, or unheard of."""
    later = f"look at {provider}'s status page; nothing is wrong here as far as can be told"
    if reply is None:
        action = f"look at the network policy, the proxy and {provider}'s status page"
        return Verdict(WARN, "Unreachable", f"{provider} does not answer", action)
    if reply.status == 429:
        return Verdict(
            WARN, "RateLimited", f"{provider} takes no more requests now", f"look at the limits at {provider}"
        )
    if reply.status >= 500:
        return Verdict(WARN, "Unavailable", f"{provider} answers {reply.status}", later)
    message = f"{provider} answers {reply.status}, which settles nothing"
    return Verdict(WARN, "Unclear", message, f"look at the base URL and at what the key may do at {provider}")
