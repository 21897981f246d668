"""A model whose every request is measured and priced, and which is not asked while it keeps failing."""

import contextlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel

from ccl_service.agents.model import Usage, cost_micros
from ccl_service.agents.provider import Ended, Model, ProviderFailed, Text
from ccl_service.agents.tools import Tool
from ccl_service.platform.dependencies import Dependency, Verdict

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionMessageParam

#: Reasons that speak against the provider; the others against our request, our key or our rate.
_ITS_FAULT: Final = frozenset({"unavailable", "timeout", "unreachable", "cut"})


class WatchedModel:
    """Another model, watched."""

    def __init__(self, model: Model, dependency: Dependency) -> None:
        self._model, self._dependency = model, dependency
        self.name = model.name

    async def stream(
        self,
        messages: "Sequence[ChatCompletionMessageParam]",
        *,
        tools: Mapping[str, Tool],
        answer: type[BaseModel],
    ) -> AsyncGenerator[Text | Ended]:
        """As ``provider.Model.stream``; fails at once, as unavailable, while requests are held back."""
        if self._dependency.resting():
            raise ProviderFailed("unavailable")
        call = self._dependency.begin()
        try:
            async with contextlib.aclosing(self._model.stream(messages, tools=tools, answer=answer)) as events:
                async for event in events:
                    if isinstance(event, Ended):
                        call.finish("answered", Verdict.WORKS)
                        self._spent(event.usage)
                    yield event
        except ProviderFailed as failed:
            call.finish(failed.reason, Verdict.FAILS if failed.reason in _ITS_FAULT else Verdict.NOTHING)
            self._spent(failed.usage)
            raise
        finally:
            call.finish("given_up", Verdict.NOTHING)

    def _spent(self, usage: Usage) -> None:
        name, metrics = self._dependency.name, self._dependency.metrics
        metrics.count("ccl_provider_tokens", name, "prompt", by=usage.prompt_tokens)
        metrics.count("ccl_provider_tokens", name, "completion", by=usage.completion_tokens)
        if cost := cost_micros(self.name, usage):
            metrics.count("ccl_provider_cost_usd", name, by=cost / 1e6)
