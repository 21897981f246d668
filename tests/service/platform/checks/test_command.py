"""``ccl-service check``: for people a table, for programs a document, for scripts an exit code."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ccl_contract.readiness import CheckStatus, ReadinessReport
from hack.fakes.dns import start_dns
from hack.fakes.mailgun import start_mailgun
from hack.fakes.openai import start_openai
from tests.service.processes import command

MAILGUN_KEY, SIGNING_KEY, OPENAI_KEY = "key-of-the-check-tests", "signing-key-of-the-check-tests", "sk-check-tests"
RECORDS = {
    "mg.example.com": ["v=spf1 include:mailgun.org ~all"],
    "pic._domainkey.mg.example.com": ["k=rsa; p=MIGf"],
    "_dmarc.example.com": ["v=DMARC1; p=reject"],
}


@pytest.fixture
async def production(environ: dict[str, str], redis_server: str) -> AsyncIterator[dict[str, str]]:
    """A production environment with which nothing is wrong."""
    async with contextlib.AsyncExitStack() as stack:
        mailgun = await stack.enter_async_context(start_mailgun(api_key=MAILGUN_KEY, signing_key=SIGNING_KEY))
        openai = await stack.enter_async_context(start_openai(api_key=OPENAI_KEY))
        names = await stack.enter_async_context(start_dns(RECORDS))
        yield environ | {
            "CCL_ENV": "production",
            "MAILGUN_API_KEY": MAILGUN_KEY,
            "MAILGUN_DOMAIN": "mg.example.com",
            "MAILGUN_WEBHOOK_SIGNING_KEY": SIGNING_KEY,
            "MAILGUN_BASE_URL": mailgun.url,
            "MAIL_FROM": "Cathy <cathy@mg.example.com>",
            "MAIL_POSTAL_ADDRESS": "100 Example Street, Springfield, IL 62701",
            "OPENAI_API_KEY": OPENAI_KEY,
            "OPENAI_BASE_URL": openai.url,
            "DNS_SERVER": names.address,
            "REDIS_URL": redis_server,
            "PUBLIC_BASE_URL": "https://127.0.0.1:1",
            "TRUST_PROXY": "10.0.0.0/8",
            "RATE_LIMIT_MAX_REQUESTS": "100",
            "SENTRY_DSN": "http://public@127.0.0.1:1/1",
        }


async def test_a_production_environment_in_order_is_ready_without_a_warning(production: dict[str, str]) -> None:
    code, out, err = await command(production, "check", "--json")
    report = ReadinessReport.model_validate_json(out)
    assert [check for check in report.checks if check.status is not CheckStatus.PASS] == []
    assert (code, err, report.status) == (0, "", CheckStatus.PASS)
    assert report.schema_ is not None


async def test_a_warning_stops_nothing(production: dict[str, str]) -> None:
    code, out, _ = await command(production | {"LOG_LEVEL": "debug"}, "check")
    first, action, *_, last = out.splitlines()
    assert first.split()[:2] == ["warn", "LogLevel"]
    assert action.strip().startswith("→ set it to warn")
    assert last.startswith("ready: 0 fail, 1 warn, ")
    assert code == 0


async def test_a_check_that_fails_stands_first_and_gives_exit_code_1(production: dict[str, str]) -> None:
    code, out, _ = await command(production | {"OPENAI_API_KEY": "sk-of-somebody-else"}, "check")
    assert out.splitlines()[0].split()[:2] == ["fail", "OpenAiKey"]
    assert out.splitlines()[-1].startswith("not ready: 1 fail, ")
    assert "somebody-else" not in out
    assert code == 1


async def test_a_database_that_is_away_is_a_verdict_and_no_crash(production: dict[str, str]) -> None:
    away = production | {"DATABASE_URL": "postgresql://ccl:8Zr1q0@127.0.0.1:1/ccl"}
    code, out, _ = await command(away, "check")
    assert {line.split()[1] for line in out.splitlines() if line.startswith("fail")} == {
        "DatabaseReachable",
        "SchemaCompatible",
    }
    assert "8Zr1q0" not in out
    assert code == 1


async def test_wrong_settings_are_one_line_that_names_each_and_no_value(
    production: dict[str, str], tmp_path: Path
) -> None:
    wrong = {"PORT": "many-ports", "JWT_SECRET": "", "JWT_SECRET_FILE": str(tmp_path / "absent"), "CORS_ORIGIN": "*"}
    code, out, err = await command(production | wrong, "check", "--json")
    assert (code, out) == (1, "")
    (line,) = err.splitlines()
    assert all(name in line for name in ("PORT", "JWT_SECRET_FILE", "CORS_ORIGIN"))
    assert not any(value in line for value in ("many-ports", str(tmp_path), OPENAI_KEY, MAILGUN_KEY))
