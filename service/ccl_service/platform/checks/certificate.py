"""Whether the public address shows a certificate that browsers take; its end as a metric is ``vitals``' business."""

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import urlsplit

from ccl_service.platform.checks.outside import CALL_SECONDS
from ccl_service.platform.checks.verdict import OK, PASS, WARN, Subject, Verdict

#: Renewals begin a month before the end; what is not renewed two weeks before has failed.
RENEWED_BEFORE: Final = timedelta(days=14)
RENEW: Final = "renew it, and see why nobody has (docs/runbooks/CclCertificateExpiring.md)"


async def certificate(subject: Subject) -> Verdict:
    """Never more than a warning: a first version is proven before its load balancer and certificate are there."""
    url = urlsplit(subject.settings.public_base_url or "")
    if url.scheme != "https" or url.hostname is None:
        return Verdict(PASS, "NotConfigured", "without a PUBLIC_BASE_URL that is https there is no certificate to see")
    try:
        ends = await _verified(url.hostname, url.port or 443)
    except ssl.SSLCertVerificationError as exc:
        message = f"browsers would refuse the certificate of PUBLIC_BASE_URL: {exc.verify_message}"
        return Verdict(WARN, "NotTrusted", message, "install the certificate with its whole chain for that name")
    except (OSError, TimeoutError):
        return Verdict(PASS, "NotReachable", "PUBLIC_BASE_URL cannot be reached from here, which is usual in a cluster")
    left = ends - subject.clock()
    if left > RENEWED_BEFORE:
        return OK
    return Verdict(WARN, "Expiring", f"the certificate of PUBLIC_BASE_URL ends in {left.days} days", RENEW)


async def _verified(host: str, port: int) -> datetime:
    """When the certificate ends. Raises SSLCertVerificationError, OSError or TimeoutError."""
    context = await asyncio.to_thread(ssl.create_default_context)
    async with asyncio.timeout(CALL_SECONDS):
        _, writer = await asyncio.open_connection(host, port, ssl=context)
    try:
        shown = writer.get_extra_info("peercert")
        return datetime.fromtimestamp(ssl.cert_time_to_seconds(shown["notAfter"]), UTC)
    finally:
        writer.transport.abort()
