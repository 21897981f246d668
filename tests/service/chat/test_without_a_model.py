"""Without a key Cathy is the rule-based stand-in, and the conversation is useful all the same."""

import pytest

from ccl_service.agents import stand_in
from ccl_service.client import converse
from tests.service.chat.system import System


@pytest.fixture
def environ(environ: dict[str, str]) -> dict[str, str]:
    """No key, as on a developer's machine."""
    return {name: value for name, value in environ.items() if name != "OPENAI_API_KEY"}


async def test_the_stand_in_collects_the_number(system: System) -> None:
    lead_id, token = await system.lead()
    async with converse(system.url, return_token=token) as chat:
        assert stand_in.ASK_PHONE in await chat.say("my credit is bad")
        assert "noted your number" in await chat.say("217-555-0142")
        assert stand_in.ASK_PHONE not in await chat.say("what about the rate?")
    assert system.openai.requests == []
    assert (await system.one("SELECT phone FROM leads WHERE id = $1", lead_id))["phone"] == "+12175550142"
    runs = await system.db.fetch("SELECT outcome, model, cost_micro_usd FROM agent_runs")
    assert {tuple(row.values()) for row in runs} == {("stand_in", None, None)}


async def test_what_is_no_phone_number_is_asked_for_again(system: System) -> None:
    lead_id, token = await system.lead()
    async with converse(system.url, return_token=token) as chat:
        await chat.say("hello")
        assert await chat.say("555-111-2222") == stand_in.BAD_PHONE
    assert (await system.one("SELECT phone FROM leads WHERE id = $1", lead_id))["phone"] is None
