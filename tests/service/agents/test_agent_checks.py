"""Production readiness of the agents, against a fake OpenAI that speaks the real protocol."""

from collections.abc import AsyncIterator, Mapping

import pytest

from ccl_contract.readiness import Check
from ccl_service.agents.checks import agent_checks
from ccl_service.platform.config import load_settings
from ccl_service.platform.readiness import CheckRegistry
from hack.fakes.openai import FakeOpenAi, start_openai

KEY = "sk-of-the-agent-checks"


@pytest.fixture
async def openai() -> AsyncIterator[FakeOpenAi]:
    async with start_openai(api_key=KEY) as fake:
        yield fake


@pytest.fixture
def environ(openai: FakeOpenAi) -> dict[str, str]:
    """Development, so that the key may be left out; nothing connects to the database."""
    return {
        "CCL_ENV": "development",
        "DATABASE_URL": "postgresql://db/ccl",
        "INTERNAL_API_KEY": "i" * 32,
        "JWT_SECRET": "j" * 32,
        "SESSION_SECRET": "s" * 32,
        "OPENAI_API_KEY": KEY,
        "OPENAI_BASE_URL": openai.url,
    }


PRODUCTION = {
    "CCL_ENV": "production",
    "MAILGUN_API_KEY": "key-1",
    "MAILGUN_DOMAIN": "mg.example.com",
    "CORS_ORIGIN": "https://cars.example.com",
    "TRUST_PROXY": "false",
}


async def ask(environ: Mapping[str, str], **update: object) -> Check:
    registry = CheckRegistry()
    async with agent_checks(registry, load_settings(environ).model_copy(update=update)):
        (found,) = await registry.run()
    await registry.close()
    assert KEY not in repr(found)
    assert bool(found.action) == (found.status != "pass")
    return found


async def found(environ: Mapping[str, str], **update: object) -> tuple[str, str]:
    check = await ask(environ, **update)
    return check.status.value, check.reason


async def test_a_key_that_is_accepted_and_a_model_that_exists_pass(environ: dict[str, str]) -> None:
    assert await found(environ) == ("pass", "")


async def test_without_a_key_production_fails_and_development_is_told(environ: dict[str, str]) -> None:
    assert await found(environ | {"OPENAI_API_KEY": ""}) == ("warn", "Missing")
    assert await found(environ | PRODUCTION, openai_api_key=None) == ("fail", "Missing")


async def test_a_key_that_is_proven_wrong_fails(environ: dict[str, str]) -> None:
    assert await found(environ | {"OPENAI_API_KEY": "sk-wrong"}) == ("fail", "KeyRefused")


@pytest.mark.parametrize("model", ["gpt-4o-minni", "../secrets", "a/b?c=d"])
async def test_a_model_that_does_not_exist_fails(model: str, environ: dict[str, str]) -> None:
    assert await found(environ | {"OPENAI_MODEL": model}) == ("fail", "UnknownModel")


async def test_a_key_that_may_only_chat_passes_unconfirmed(environ: dict[str, str], openai: FakeOpenAi) -> None:
    openai.restricted = True
    assert await found(environ) == ("pass", "NotConfirmed")


@pytest.mark.parametrize(
    ("status", "reason"),
    [(403, "Unclear"), (404, "Unclear"), (429, "RateLimited"), (500, "Unavailable"), (503, "Unavailable")],
)
async def test_a_provider_in_trouble_is_never_more_than_a_warning(
    status: int, reason: str, environ: dict[str, str], openai: FakeOpenAi
) -> None:
    openai.fault("models_status", status=status)
    assert await found(environ) == ("warn", reason)


async def test_a_provider_that_is_away_is_a_warning(environ: dict[str, str]) -> None:
    assert await found(environ | {"OPENAI_BASE_URL": "http://127.0.0.1:1/v1"}) == ("warn", "Unreachable")
