"""The outside worlds of a process with which nothing is wrong."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from hack.fakes.dns import FakeDns, start_dns
from hack.fakes.mailgun import FakeMailgun, start_mailgun
from hack.fakes.openai import FakeOpenAi, start_openai

MAILGUN_KEY, SIGNING_KEY, OPENAI_KEY = "key-of-the-check-tests", "signing-key-of-the-check-tests", "sk-check-tests"
RECORDS = {
    "mg.example.com": ["v=spf1 include:mailgun.org ~all"],
    "pic._domainkey.mg.example.com": ["k=rsa; p=MIGf"],
    "_dmarc.example.com": ["v=DMARC1; p=reject"],
}


@dataclass(frozen=True)
class Outside:
    """Who is asked."""

    mailgun: FakeMailgun
    openai: FakeOpenAi
    names: FakeDns

    def environ(self) -> dict[str, str]:
        """The variables of production that lead there."""
        return {
            "CCL_ENV": "production",
            "MAILGUN_API_KEY": MAILGUN_KEY,
            "MAILGUN_DOMAIN": "mg.example.com",
            "MAILGUN_WEBHOOK_SIGNING_KEY": SIGNING_KEY,
            "MAILGUN_BASE_URL": self.mailgun.url,
            "MAIL_FROM": "Cathy <cathy@mg.example.com>",
            "MAIL_POSTAL_ADDRESS": "100 Example Street, Springfield, IL 62701",
            "OPENAI_API_KEY": OPENAI_KEY,
            "OPENAI_BASE_URL": self.openai.url,
            "DNS_SERVER": self.names.address,
            "PUBLIC_BASE_URL": "https://127.0.0.1:1",
            "TRUST_PROXY": "10.0.0.0/8",
            "RATE_LIMIT_MAX_REQUESTS": "100",
            "SENTRY_DSN": "http://public@127.0.0.1:1/1",
        }


@contextlib.asynccontextmanager
async def start_outside() -> AsyncIterator[Outside]:
    """Fakes that speak the real protocols."""
    async with (
        start_mailgun(api_key=MAILGUN_KEY, signing_key=SIGNING_KEY) as mailgun,
        start_openai(api_key=OPENAI_KEY) as openai,
        start_dns(dict(RECORDS)) as names,
    ):
        yield Outside(mailgun, openai, names)


@contextlib.asynccontextmanager
async def tls_server(folder: Path) -> AsyncIterator[int]:
    """A TLS server with the certificate in ``folder`` that says nothing; its port."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await reader.read()
        writer.transport.abort()

    server = await asyncio.start_server(take, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()
