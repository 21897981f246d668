"""Counts of requests in Redis or Valkey. What they limit is ``platform.limits``'s business."""

from collections.abc import Mapping
from types import TracebackType
from typing import Final

from ccl_service.platform.limits import RECONCILE_SECONDS

#: How long an answer may take. No request waits for it, and the next reconciliation says the same again. Much less
#: would take a moment in which this process is busy for a Redis that is away.
ANSWER_SECONDS: Final = RECONCILE_SECONDS
CONNECT_SECONDS: Final = 1.0

#: One hash per window with a field per process. What was sent before a time-out may arrive after what was sent later,
#: so that a count never goes back.
_SHARE: Final = """
-- limit_share: process ARGV[1] has counted ARGV[2n] in KEYS[n], which is kept for ARGV[2n + 1] ms; the sums of all
local totals = {}
for n, key in ipairs(KEYS) do
  local own = tonumber(ARGV[2 * n])
  if own > tonumber(redis.call('HGET', key, ARGV[1]) or 0) then
    redis.call('HSET', key, ARGV[1], own)
    redis.call('PEXPIRE', key, ARGV[2 * n + 1])
  end
  totals[n] = 0
  for _, count in ipairs(redis.call('HVALS', key)) do
    totals[n] = totals[n] + count
  end
end
return totals
"""


class RedisCounts:
    """A ``limits.SharedCounts``. The client library is imported only where a URL is set."""

    def __init__(self, url: str, *, deployment: str, process: str) -> None:
        """Counts are shared by the processes of one ``deployment``; ``process`` is unique among them, and new after a
        restart, because what was counted before still counts."""
        from redis.asyncio import Redis  # noqa: PLC0415 - 100 ms of start time that a single instance need not pay
        from redis.asyncio.retry import Retry  # noqa: PLC0415 - as above
        from redis.backoff import NoBackoff  # noqa: PLC0415 - as above

        self._redis = Redis.from_url(
            url,
            socket_timeout=ANSWER_SECONDS,
            socket_connect_timeout=CONNECT_SECONDS,
            # whoever asks comes again soon, and knows more by then
            retry=Retry(NoBackoff(), 0),
        )
        # the braces keep all keys of a deployment in one slot of a cluster, as a script needs them
        self._prefix = f"ccl:{{{deployment}}}:limit:"
        self._process = process

    async def share(self, own: Mapping[str, tuple[int, int]]) -> Mapping[str, int]:
        """All counters in one round trip."""
        keys = [self._prefix + key for key in own]
        values = [value for pair in own.values() for value in pair]
        async with _Translated():
            totals = await self._redis.eval(_SHARE, len(keys), *keys, self._process, *values)
        return dict(zip(own, totals, strict=True))

    async def ping(self) -> None:
        """Raises OSError when Redis does not answer."""
        async with _Translated():
            await self._redis.ping()

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()


class _Translated:
    """The client's errors as OSError."""

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, _: TracebackType | None
    ) -> None:
        from redis.exceptions import RedisError  # noqa: PLC0415 - see RedisCounts

        if isinstance(exc, RedisError):
            raise ConnectionError("redis does not answer") from exc
