"""Faults that a fake commits on request: each names a kind and how many times it strikes.

Shared by all fakes: ``POST /faults`` adds one, ``GET /faults`` lists what is left, ``DELETE /faults`` clears.
What a kind means is the business of the fake that takes it.
"""

import asyncio
from dataclasses import dataclass, field

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError


class Fault(BaseModel):
    """One fault. ``times``: how often it strikes. ``seconds``: duration of waits and delays."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    times: int = Field(default=1, ge=1)
    status: int = Field(default=500, ge=400, le=599)
    seconds: float = Field(default=30.0, ge=0)
    retry_after: int | None = Field(default=None, ge=0)
    after_chunks: int = Field(default=2, ge=0)


@dataclass
class Faults:
    """The faults still to come, oldest first, and the signal that ends every fake wait when the server closes."""

    kinds: frozenset[str]
    pending: list[Fault] = field(default_factory=list)
    closing: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, fault: Fault) -> None:
        """Queue a fault. Raises ValueError for a kind that this fake does not have."""
        if fault.kind not in self.kinds:
            raise ValueError(f"unknown fault kind {fault.kind!r}; known: {', '.join(sorted(self.kinds))}")
        self.pending.append(fault)

    def take(self, *kinds: str) -> Fault | None:
        """The oldest pending fault of one of these kinds, one strike of it used up; None when there is none."""
        for index, fault in enumerate(self.pending):
            if fault.kind in kinds:
                left = fault.times - 1
                self.pending[index : index + 1] = [fault.model_copy(update={"times": left})] if left else []
                return fault
        return None

    async def wait(self, seconds: float) -> None:
        """Wait, but not past the server's end."""
        try:
            await asyncio.wait_for(self.closing.wait(), seconds)
        except TimeoutError:
            return


def fault_routes(faults: Faults) -> list[web.RouteDef]:
    """The control routes. Answers 400 with a plain message for a fault that does not exist."""

    async def add(request: web.Request) -> web.Response:
        try:
            fault = Fault.model_validate_json(await request.read())
            faults.add(fault)
        except (ValidationError, ValueError) as exc:
            return web.json_response({"message": str(exc)}, status=400)
        return web.json_response(fault.model_dump(), status=201)

    async def show(_: web.Request) -> web.Response:
        return web.json_response([fault.model_dump() for fault in faults.pending])

    async def clear(_: web.Request) -> web.Response:
        faults.pending.clear()
        return web.Response(status=204)

    return [web.post("/faults", add), web.get("/faults", show), web.delete("/faults", clear)]
