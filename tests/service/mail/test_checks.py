"""Production readiness of mail, against a fake Mailgun and a fake DNS that speak the real protocols."""

from collections.abc import AsyncIterator, Mapping, Sequence

import dns.rcode
import pytest

from ccl_contract.readiness import Check
from ccl_service.mail.checks import mail_checks
from ccl_service.mail.sql import bind_deployment
from ccl_service.platform.config import load_settings
from ccl_service.platform.db import Db, PoolDb, PoolSize
from ccl_service.platform.readiness import CheckRegistry
from hack.fakes.dns import FakeDns, start_dns
from hack.fakes.mailgun import FakeMailgun, start_mailgun

DOMAIN = "mg.example.com"
SIGNING_KEY = "signing-key-of-the-account"
KEY = "key-0d3m0d3m0d3m"
SPF, DKIM, DMARC = DOMAIN, f"pic._domainkey.{DOMAIN}", "_dmarc.example.com"
RECORDS: Mapping[str, Sequence[str]] = {
    SPF: ["v=spf1 include:mailgun.org ~all"],
    DKIM: ["k=rsa; p=MIGfMA0"],
    DMARC: ["v=DMARC1; p=none"],
}


@pytest.fixture
async def mailgun() -> AsyncIterator[FakeMailgun]:
    async with start_mailgun(api_key=KEY, signing_key=SIGNING_KEY) as fake:
        yield fake


@pytest.fixture
async def names() -> AsyncIterator[FakeDns]:
    async with start_dns(dict(RECORDS)) as fake:
        yield fake


@pytest.fixture
def environ(mailgun: FakeMailgun, names: FakeDns, database_url: str) -> dict[str, str]:
    """Production."""
    return {
        "CCL_ENV": "production",
        "DATABASE_URL": database_url,
        "INTERNAL_API_KEY": "i" * 32,
        "JWT_SECRET": "j" * 32,
        "SESSION_SECRET": "s" * 32,
        "OPENAI_API_KEY": "sk-1",
        "CORS_ORIGIN": "https://cars.example.com",
        "TRUST_PROXY": "false",
        "MAILGUN_API_KEY": KEY,
        "MAILGUN_DOMAIN": DOMAIN,
        "MAILGUN_WEBHOOK_SIGNING_KEY": SIGNING_KEY,
        "MAILGUN_BASE_URL": mailgun.url,
        "MAIL_FROM": "Cathy <cathy@mg.example.com>",
        "MAIL_POSTAL_ADDRESS": "100 Example Street, Springfield, IL 62701",
        "DNS_SERVER": names.address,
    }


async def ask(environ: Mapping[str, str]) -> Mapping[str, Check]:
    """Every check of mail by its id."""
    settings, registry = load_settings(environ), CheckRegistry()
    db = PoolDb(settings.database_url.get_secret_value(), PoolSize(connections=1))
    await db.open()
    try:
        async with mail_checks(registry, settings, db):
            found = await registry.run()
    finally:
        await registry.close()
        await db.close()
    assert KEY not in repr(found)
    assert SIGNING_KEY not in repr(found)
    return {check.id: check for check in found}


async def found(environ: Mapping[str, str], check_id: str) -> tuple[str, str]:
    check = (await ask(environ))[check_id]
    assert bool(check.action) == (check.status != "pass")
    return check.status.value, check.reason


async def test_an_account_and_a_domain_in_order_pass(environ: dict[str, str]) -> None:
    assert {check.id: check.status.value for check in (await ask(environ)).values()} == {
        "MailgunKeys": "pass",
        "MailSender": "pass",
        "PostalAddress": "pass",
        "OutboundAllowlist": "pass",
        "MailIdentity": "pass",
        "MailgunAccount": "pass",
        "MailgunWebhook": "pass",
        "MailDomain": "pass",
    }


DEVELOPMENT = {"CCL_ENV": "development"}


@pytest.mark.parametrize(
    ("check_id", "changed", "expected"),
    [
        ("MailgunKeys", {"MAILGUN_WEBHOOK_SIGNING_KEY": ""}, ("fail", "Missing")),
        ("MailgunKeys", DEVELOPMENT | {"MAILGUN_API_KEY": ""}, ("fail", "Missing")),
        ("MailSender", {"MAIL_FROM": ""}, ("warn", "Derived")),
        ("MailSender", {"MAIL_FROM": "Cathy"}, ("fail", "NoAddress")),
        ("MailSender", {"MAIL_FROM": "Cathy <cathy@example.org>"}, ("warn", "ForeignDomain")),
        ("MailSender", {"MAIL_FROM": "cathy@example.com"}, ("pass", "")),
        ("PostalAddress", {"MAIL_POSTAL_ADDRESS": ""}, ("fail", "Missing")),
        ("OutboundAllowlist", {"OUTBOUND_ALLOWLIST": "*"}, ("warn", "Ignored")),
        ("OutboundAllowlist", DEVELOPMENT, ("warn", "HoldsAll")),
        ("OutboundAllowlist", DEVELOPMENT | {"OUTBOUND_ALLOWLIST": "*"}, ("warn", "AllowsAll")),
        ("OutboundAllowlist", DEVELOPMENT | {"OUTBOUND_ALLOWLIST": "@example.com"}, ("pass", "Limited")),
        ("MailgunAccount", {"MAILGUN_API_KEY": "another-key"}, ("fail", "KeyRefused")),
        ("MailgunWebhook", {"MAILGUN_WEBHOOK_SIGNING_KEY": "another-key"}, ("fail", "KeyMismatch")),
    ],
)
async def test_one_wrong_setting_breaks_its_check(
    check_id: str, changed: dict[str, str], expected: tuple[str, str], environ: dict[str, str]
) -> None:
    assert await found(environ | changed, check_id) == expected


NEEDS_NO_ACCOUNT = {"MailgunKeys", "MailSender", "PostalAddress", "OutboundAllowlist", "MailIdentity"}


async def test_without_an_account_nobody_is_asked(environ: dict[str, str]) -> None:
    without = environ | DEVELOPMENT | {"MAILGUN_API_KEY": "", "MAILGUN_DOMAIN": ""}
    assert set(await ask(without)) == NEEDS_NO_ACCOUNT


async def test_a_database_of_another_deployment_is_a_warning(environ: dict[str, str], db: Db) -> None:
    await bind_deployment(db, "one")
    assert await found(environ | {"CCL_DEPLOYMENT_ID": "one"}, "MailIdentity") == ("pass", "")
    assert await found(environ | {"CCL_DEPLOYMENT_ID": "other"}, "MailIdentity") == ("warn", "OtherDeployment")
    assert await found(environ, "MailIdentity") == ("warn", "OtherDeployment")


async def test_a_database_without_our_tables_does_not_say_whose_it_is(
    environ: dict[str, str], empty_database_url: str
) -> None:
    assert await found(environ | {"DATABASE_URL": empty_database_url}, "MailIdentity") == ("warn", "Unknown")


@pytest.mark.parametrize(
    ("domains", "expected"),
    [
        ({DOMAIN: "unverified"}, ("warn", "Unverified")),
        ({DOMAIN: "disabled"}, ("fail", "Disabled")),
        ({DOMAIN: "unheard-of"}, ("warn", "Unclear")),
        ({"other.example.com": "active"}, ("fail", "UnknownDomain")),
    ],
)
async def test_the_state_of_the_domain_decides(
    domains: Mapping[str, str], expected: tuple[str, str], environ: dict[str, str], mailgun: FakeMailgun
) -> None:
    mailgun.domains = domains
    assert await found(environ, "MailgunAccount") == expected


async def test_a_key_that_may_only_send_passes_and_sends_nothing(environ: dict[str, str], mailgun: FakeMailgun) -> None:
    mailgun.sending_only = True
    checks = await ask(environ)
    assert {name: check.reason for name, check in checks.items() if check.reason} == {
        "MailgunAccount": "SendingKey",
        "MailgunWebhook": "NotConfirmed",
    }
    assert (mailgun.requests, mailgun.mails) == (1, [])


@pytest.mark.parametrize(
    ("status", "reason"), [(429, "RateLimited"), (500, "Unavailable"), (503, "Unavailable"), (418, "Unclear")]
)
async def test_a_provider_in_trouble_is_never_more_than_a_warning(
    status: int, reason: str, environ: dict[str, str], mailgun: FakeMailgun
) -> None:
    mailgun.fault("account_status", status=status, times=9)
    assert await found(environ, "MailgunAccount") == ("warn", reason)


async def test_a_provider_that_is_away_is_a_warning(environ: dict[str, str]) -> None:
    away = environ | {"MAILGUN_BASE_URL": "http://127.0.0.1:1"}
    assert await found(away, "MailgunAccount") == ("warn", "Unreachable")
    assert await found(away, "MailgunWebhook") == ("warn", "Unreachable")
    assert await found(away, "MailDomain") == ("pass", "")


@pytest.mark.parametrize(
    ("name", "texts", "words"),
    [
        (SPF, None, "mg.example.com has no SPF record"),
        (SPF, ["v=spf1 -all"], "mg.example.com has an SPF record that lets nobody send"),
        (DKIM, None, "pic._domainkey.mg.example.com has no DKIM key"),
        (DMARC, None, "mg.example.com has no DMARC record"),
    ],
)
async def test_a_record_that_is_missing_or_wrong_is_a_warning_that_names_it(
    name: str, texts: Sequence[str] | None, words: str, environ: dict[str, str], names: FakeDns
) -> None:
    others = {other: held for other, held in RECORDS.items() if other != name}
    names.records = others | ({name: texts} if texts else {})
    check = (await ask(environ))["MailDomain"]
    assert (check.status.value, check.reason, check.message) == ("warn", "Records", words)


async def test_all_that_is_wrong_with_a_domain_is_said_at_once(environ: dict[str, str], names: FakeDns) -> None:
    names.records = {}
    assert (await ask(environ))["MailDomain"].message.count(" has no ") == 3


@pytest.mark.parametrize("rcode", [dns.rcode.SERVFAIL, dns.rcode.REFUSED])
async def test_a_dns_that_fails_says_nothing_about_the_records(
    rcode: dns.rcode.Rcode, environ: dict[str, str], names: FakeDns
) -> None:
    names.rcode = rcode
    assert await found(environ, "MailDomain") == ("warn", "DnsUnreachable")


async def test_a_dns_that_swallows_questions_is_a_warning(environ: dict[str, str], names: FakeDns) -> None:
    names.silent = True
    assert await found(environ, "MailDomain") == ("warn", "DnsUnreachable")
    assert names.asked
