"""The process and what it stands on: memory against its limit, file systems, the event loop's lag, the certificate."""

import asyncio
import os
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from ccl_service.platform.certificate import CertificateUnreadable, not_after
from ccl_service.platform.telemetry import Metrics
from ccl_service.platform.telemetry.cgroup import ROOT, memory

LAG_SECONDS: Final = 0.5
MOUNTS: Final = ("/", "/tmp")  # noqa: S108 - a place to measure, not to write to
CERTIFICATE_EVERY: Final = 3600.0
CERTIFICATE_RETRY: Final = 300.0
CONNECT_SECONDS: Final = 5.0


def watch_memory(metrics: Metrics, root: Path = ROOT) -> None:
    """Read the control group whenever metrics are collected; nothing where there is none."""
    found = memory(root)
    if found is None:
        return
    metrics.gauge_from("ccl_memory_working_set_bytes", lambda: _working_set(root))
    if found.limit is not None:
        metrics.gauge("ccl_memory_limit_bytes", found.limit)


def _working_set(root: Path) -> float:
    found = memory(root)
    return float(found.working_set) if found else 0.0


def watch_disks(metrics: Metrics, mounts: Sequence[str] = MOUNTS) -> None:
    """Ask the file systems whenever metrics are collected."""
    for mount in mounts:
        metrics.gauge_from("ccl_filesystem_size_bytes", _statvfs(mount, lambda s: s.f_blocks * s.f_frsize), mount)
        metrics.gauge_from("ccl_filesystem_available_bytes", _statvfs(mount, lambda s: s.f_bavail * s.f_frsize), mount)


def _statvfs(mount: str, read: Callable[[os.statvfs_result], int]) -> Callable[[], float]:
    def ask() -> float:
        try:
            return float(read(os.statvfs(mount)))
        except OSError:
            return 0.0

    return ask


class LoopLag:
    """How late the event loop wakes somebody who sleeps half a second."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    async def run(self, stop: asyncio.Event) -> None:
        """Measure until ``stop``."""
        loop = asyncio.get_running_loop()
        while not stop.is_set():
            due = loop.time() + LAG_SECONDS
            try:
                await asyncio.wait_for(stop.wait(), LAG_SECONDS)
            except TimeoutError:
                self._metrics.observe("ccl_event_loop_lag_seconds", max(0.0, loop.time() - due))


class CertificateWatch:
    """Reads the end of the certificate that our public address shows, whether it is trusted or not."""

    def __init__(self, metrics: Metrics, public_url: str) -> None:
        """``public_url`` starts with https."""
        parts = urlsplit(public_url)
        self._host, self._port = parts.hostname or "", parts.port or 443
        self._metrics = metrics

    async def look(self) -> bool:
        """Look once; whether there was one to read."""
        try:
            expires = not_after(await self._shown())
        except (OSError, TimeoutError, ssl.SSLError, CertificateUnreadable):
            self._metrics.gauge("ccl_certificate_probe_success", 0)
            return False
        self._metrics.gauge("ccl_certificate_probe_success", 1)
        self._metrics.gauge("ccl_certificate_expiry_timestamp_seconds", expires.timestamp())
        return True

    async def run(self, stop: asyncio.Event) -> None:
        """Look every hour until ``stop``, and sooner after a failure."""
        while not stop.is_set():
            wait = CERTIFICATE_EVERY if await self.look() else CERTIFICATE_RETRY
            try:
                await asyncio.wait_for(stop.wait(), wait)
            except TimeoutError:
                continue

    async def _shown(self) -> bytes:
        # not verified on purpose: an expired certificate has to be read too, and nothing is sent
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        async with asyncio.timeout(CONNECT_SECONDS):
            _, writer = await asyncio.open_connection(self._host, self._port, ssl=context, server_hostname=self._host)
            try:
                found: ssl.SSLObject = writer.get_extra_info("ssl_object")
                return found.getpeercert(binary_form=True) or b""
            finally:
                writer.transport.abort()
