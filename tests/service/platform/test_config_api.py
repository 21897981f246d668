"""The effective configuration over HTTP."""

from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from ccl_service.platform.config_view import ConfigView

Client = TestClient[web.Request, web.Application]
CONFIG = "/api/monitoring/config"


@pytest.fixture
def environ(environ: dict[str, str]) -> dict[str, str]:
    """With a provider's key, and a slip."""
    return environ | {"OPENAI_API_KEY": "sk-that-nobody-sees", "RATE_LIMIT_WINDOW": "60000"}


async def test_each_setting_says_where_it_comes_from(client: Client, root: dict[str, str]) -> None:
    answer = await client.get(CONFIG, headers=root)
    view = ConfigView.model_validate_json(await answer.text())
    assert answer.status == 200
    told = {name: (shown.value, shown.source.value) for name, shown in view.settings.items()}
    assert told["DB_POOL_SIZE"] == (5, "environment")
    assert told["PORT"] == (5000, "default")
    assert told["CCL_ENV"] == ("development", "environment")
    assert view.keys["JWT_SECRET"].ids == ("static",)
    assert [(slip.name, slip.meant) for slip in view.misspelt] == [("RATE_LIMIT_WINDOW", "RATE_LIMIT_WINDOW_MS")]


async def test_no_secret_is_in_it(client: Client, root: dict[str, str], environ: dict[str, str]) -> None:
    text = await (await client.get(CONFIG, headers=root)).text()
    for name in ("INTERNAL_API_KEY", "JWT_SECRET", "SESSION_SECRET", "OPENAI_API_KEY", "DATABASE_URL"):
        assert environ[name] not in text
    shown: dict[str, Any] = (await (await client.get(CONFIG, headers=root)).json())["settings"]
    assert shown["OPENAI_API_KEY"] == {"value": "***", "source": "environment", "secret": True, "length": "16-31"}
    assert shown["DATABASE_URL"]["secret"]


async def test_a_slip_is_a_warning_of_readiness(client: Client, root: dict[str, str]) -> None:
    report = await (await client.get("/api/monitoring/production-readiness", headers=root)).json()
    (found,) = [check for check in report["checks"] if check["id"] == "Variables"]
    assert (found["status"], found["reason"]) == ("warn", "Misspelt")
    assert "RATE_LIMIT_WINDOW_MS" in found["message"]


async def test_strangers_see_nothing_of_it(client: Client) -> None:
    assert (await client.get(CONFIG)).status == 401
