"""Mailgun's signed event webhooks: the payload, its signature, and delivery with retries.

Source: Mailgun documentation, "Webhooks" and "Securing Webhooks": the signature is the hex HMAC-SHA256 of
timestamp + token under the account's webhook signing key; 2xx ends delivery, 406 refuses it for good, anything else
is tried again. Mailgun waits 10 minutes before its first retry; here the waits are seconds (a setting).
"""

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from hack.fakes.faults import Faults

NOT_ACCEPTABLE = 406


@dataclass(frozen=True)
class Attempt:
    """One try to deliver an event. ``status`` is None when no answer came."""

    event: str
    event_id: str
    status: int | None


def sign(signing_key: str, timestamp: str, token: str) -> str:
    """Hex HMAC-SHA256 of timestamp + token."""
    return hmac.new(signing_key.encode(), f"{timestamp}{token}".encode(), hashlib.sha256).hexdigest()


def event_payload(
    *, signing_key: str, event: dict[str, Any], timestamp: float, token: str | None = None
) -> dict[str, Any]:
    """The whole webhook body for one ``event-data``. ``timestamp`` in epoch seconds."""
    stamp, nonce = str(int(timestamp)), token or secrets.token_hex(25)
    return {
        "signature": {"timestamp": stamp, "token": nonce, "signature": sign(signing_key, stamp, nonce)},
        "event-data": event,
    }


@dataclass
class WebhookSender:
    """Delivers events to ``target`` in the background. No target: events are made but go nowhere."""

    signing_key: str
    target: str | None
    faults: Faults
    now: Callable[[], float]
    retry_delays: Sequence[float]
    attempts: list[Attempt] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _session: aiohttp.ClientSession | None = None

    def send(self, event: dict[str, Any]) -> None:
        """Start delivering one event, subject to the faults ``webhook_delay``, ``_drop`` and ``_duplicate``."""
        if self.target is None or self.faults.take("webhook_drop"):
            return
        delay = self.faults.take("webhook_delay")
        copies = 2 if self.faults.take("webhook_duplicate") else 1
        for _ in range(copies):
            task = asyncio.create_task(self._deliver(event, delay.seconds if delay else 0.0))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def post(self, body: Any, *, event: str = "", event_id: str = "") -> int | None:
        """One POST of ``body`` to the target, recorded in ``attempts``; the status, or None without an answer."""
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10))
        status: int | None = None
        try:
            async with self._session.post(self.target or "", json=body) as answer:
                status = answer.status
        except (aiohttp.ClientError, TimeoutError):
            status = None
        self.attempts.append(Attempt(event, event_id, status))
        return status

    async def close(self) -> None:
        """Give up what is still under way."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def _deliver(self, event: dict[str, Any], delay: float) -> None:
        for wait in (delay, *self.retry_delays):
            if wait:
                await self.faults.wait(wait)
            if self.faults.closing.is_set():
                return
            body = event_payload(signing_key=self.signing_key, event=event, timestamp=self.now())
            status = await self.post(body, event=event["event"], event_id=event["id"])
            if status is not None and (200 <= status < 300 or status == NOT_ACCEPTABLE):
                return
