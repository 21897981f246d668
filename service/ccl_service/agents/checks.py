"""Production readiness of the agents: whether the model can be asked.

Source: OpenAI API reference, "Retrieve model" (GET /models/{model}) and "Error codes".
"""

import contextlib
from collections.abc import AsyncIterator, Mapping
from functools import partial
from typing import Any, Final
from urllib.parse import quote

import aiohttp

from ccl_service.platform.checks.outside import Reply, call, trouble
from ccl_service.platform.checks.verdict import FAIL, OK, PASS, WARN, Verdict
from ccl_service.platform.config import Settings
from ccl_service.platform.readiness import CheckRegistry

PROVIDER: Final = "OpenAI"
#: What OpenAI writes about a restricted key that may chat but not read models; its status is 401 or 403.
SCOPE_WORDS: Final = ("missing scopes", "insufficient permissions")
RESTRICTED: Final = Verdict(PASS, "NotConfirmed", "OPENAI_API_KEY may not read models, so the model is not confirmed")


@contextlib.asynccontextmanager
async def agent_checks(registry: CheckRegistry, settings: Settings) -> AsyncIterator[None]:
    """Register the check; it works until the block ends."""
    async with aiohttp.ClientSession() as session:
        if settings.openai_api_key is None:
            registry.judge("OpenAiKey", partial(_missing, settings))
        else:
            registry.remember("OpenAiKey", partial(ask, session, settings))
        yield


def _missing(settings: Settings) -> Verdict:
    message = "OPENAI_API_KEY is unset; the chat answers by rules"
    return Verdict(FAIL if settings.production else WARN, "Missing", message, "set the key")


async def ask(session: aiohttp.ClientSession, settings: Settings) -> Verdict:
    """Whether the key is accepted and the model exists for it."""
    key = settings.openai_api_key.get_secret_value() if settings.openai_api_key else ""
    url = f"{settings.openai_base_url}/models/{quote(settings.openai_model, safe='')}"
    return key_verdict(await call(session, "GET", url, authorization=f"Bearer {key}"))


def key_verdict(reply: Reply | None) -> Verdict:
    """What the provider's answer about the model means."""
    if reply is None:
        return trouble(PROVIDER, reply)
    error = _error(reply.body)
    if reply.status == 200:
        return OK
    if reply.status in {401, 403} and any(words in str(error.get("message", "")).lower() for words in SCOPE_WORDS):
        return RESTRICTED
    if reply.status == 401:
        message = "the provider does not accept OPENAI_API_KEY; the chat would answer by rules"
        return Verdict(FAIL, "KeyRefused", message, "set a valid key, or the OPENAI_BASE_URL that it belongs to")
    if reply.status == 404 and error.get("code") == "model_not_found":
        message = "OPENAI_MODEL does not exist for this key; the chat would answer by rules"
        return Verdict(FAIL, "UnknownModel", message, "name a model that the account may use")
    return trouble(PROVIDER, reply)


def _error(body: Mapping[str, Any]) -> Mapping[str, Any]:
    error = body.get("error")
    return error if isinstance(error, dict) else {}
