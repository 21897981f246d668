"""``POST /api/monitoring/shed``: send the callers of this process to other ones, without taking it out of service.

A promotion calls it on the pods that lose their traffic: a connection that is kept alive, an event stream or a socket
stays with its pod however a Service's selector changes.
"""

from typing import Final

import structlog
from aiohttp import web

from ccl_service.platform.http import PHASE, Auth, LimitClass, Priority, Route, Scope, json_reply, parse_query
from ccl_service.platform.views import Shedding, ShedQuery

log = structlog.get_logger("ccl.lifecycle")


async def post_shed(request: web.Request) -> web.Response:
    """POST shed: 202. Answers close their connection, streams and sockets end. Problems: 401, 403, 422."""
    asked = parse_query(request, ShedQuery)
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
        query=ShedQuery,
        response=Shedding,
        status=202,
        summary="Send callers to other processes, without going unready",
    ),
)
