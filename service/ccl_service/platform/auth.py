"""Who may call a route. The policy stands in the route table; this module enforces it.

Visitor tokens are issued and read here; what a visitor may see is the chat's business.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from aiohttp import web

from ccl_service.platform.keys import KeyRing
from ccl_service.platform.problems import Forbidden, MissingScope, Unauthenticated
from ccl_service.platform.route import Auth, Route, Scope

VISITOR_PURPOSE: Final = "visitor"
VISITOR_LIFETIME: Final = timedelta(hours=12)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls: ``kind`` is public, root, monitor, key or visitor; ``id`` that of a key or a conversation."""

    kind: str
    id: str = ""
    scopes: frozenset[Scope] = frozenset()

    def may(self, scope: Scope) -> bool:
        """Whether the caller's key carries ``scope``."""
        return scope in self.scopes


ANONYMOUS: Final = Principal("public")
ROOT: Final = Principal("root", "internal-api", frozenset(Scope))
MONITOR: Final = Principal(
    "monitor", "monitor", frozenset({Scope.MONITORING_READ, Scope.MONITORING_SHED, Scope.METRICS_SCRAPE})
)
PRINCIPAL: Final = web.RequestKey("principal", Principal)


def presented_key(headers: Mapping[str, str]) -> str | None:
    """The key of ``Authorization: Bearer`` or, when that is absent, of ``X-API-Key``."""
    scheme, _, value = headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and value.strip():
        return value.strip()
    return headers.get("X-API-Key") or None


def issue_visitor(keys: KeyRing, conversation_id: str, *, now: datetime) -> str:
    """A token that speaks for one conversation for ``VISITOR_LIFETIME``."""
    claims = {"c": conversation_id, "exp": int((now + VISITOR_LIFETIME).timestamp())}
    return keys.sign(VISITOR_PURPOSE, json.dumps(claims, separators=(",", ":")).encode())


def verify_visitor(keys: KeyRing, token: str, *, now: datetime) -> str:
    """The conversation id a visitor token speaks for. Raises Unauthenticated, also when it has expired."""
    claims = json.loads(keys.verify(VISITOR_PURPOSE, token))
    if claims["exp"] <= now.timestamp():
        raise Unauthenticated("the token has expired")
    return str(claims["c"])


def recognise(key: str, keys: KeyRing) -> Principal | None:
    """Whose key this is, of those that the process holds; None for nobody's."""
    if keys.is_root(key):
        return ROOT
    return MONITOR if keys.is_monitor(key) else None


def permit(route: Route, principal: Principal | None, *, shown: bool) -> Principal:
    """Who calls ``route``, when they may; ``shown``: whether there was a key at all.

    Raises Unauthenticated for no key or nobody's, Forbidden or MissingScope for a valid one that does not open it.
    """
    if route.auth in {Auth.PUBLIC, Auth.SIGNATURE}:
        return principal or ANONYMOUS
    if principal is None:
        raise Unauthenticated("the key is not valid" if shown else "send a key as Authorization: Bearer or X-API-Key")
    if route.auth is Auth.ROOT_KEY and principal != ROOT:
        raise Forbidden("only the root key opens this")
    if route.scope is not None and not principal.may(route.scope):
        raise MissingScope(f"the key lacks the scope {route.scope}")
    return principal
