"""``POST /api/monitoring/shed``: send the callers of this process to other ones, without taking it out of service.

A promotion calls it on the pods that lose their traffic: a connection that is kept alive, an event stream or a socket
stays with its pod however a Service's selector changes.
"""

from typing import Final

import structlog
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from ccl_service.platform.http import PHASE, Auth, LimitClass, Priority, Route, Scope, json_reply, parse_query

log = structlog.get_logger("ccl.lifecycle")


class Shed(BaseModel):
    """Query of the route: for how many seconds callers are sent elsewhere."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    seconds: int = Field(default=60, ge=1, le=600)


class Shedding(BaseModel):
    """Answer: what was asked for, and how many requests (streams and sockets among them) were open."""

    v: int = 1
    seconds: int
    in_flight: int


async def post_shed(request: web.Request) -> web.Response:
    """POST shed: 202. Answers close their connection, streams and sockets end. Problems: 401, 403, 422."""
    asked = parse_query(request, Shed)
    phase = request.app[PHASE]
    phase.move(asked.seconds)
    log.warning("sending callers elsewhere", action="lifecycle:process:moving", seconds=asked.seconds)
    return json_reply(Shedding(seconds=asked.seconds, in_flight=phase.in_flight - 1), status=202)


ROUTES: Final = (
    Route(
        "POST",
        "/api/monitoring/shed",
        post_shed,
        Auth.KEY,
        LimitClass.MONITORING,
        priority=Priority.PROBE,
        scope=Scope.MONITORING_SHED,
        query=Shed,
        response=Shedding,
        status=202,
        summary="Send callers to other processes, without going unready",
    ),
)
