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
MONITOR: Final = Principal("monitor", "monitor", frozenset({Scope.MONITORING_READ, Scope.METRICS_SCRAPE}))
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


def authenticate(route: Route, headers: Mapping[str, str], keys: KeyRing, *, now: datetime) -> Principal:
    """The principal behind a request. Raises Unauthenticated, Forbidden or MissingScope."""
    key = presented_key(headers)
    if route.auth in {Auth.PUBLIC, Auth.SIGNATURE}:
        return (recognise(key, keys) if key else None) or ANONYMOUS
    if key is None:
        raise Unauthenticated("send a key as Authorization: Bearer or X-API-Key")
    if route.auth is Auth.VISITOR:
        return Principal("visitor", verify_visitor(keys, key, now=now))
    principal = recognise(key, keys)
    if principal is None:
        raise Unauthenticated("the key is not valid")
    permit(route, principal)
    return principal


def recognise(key: str, keys: KeyRing) -> Principal | None:
    """Whose key this is; None for nobody's."""
    if keys.is_root(key):
        return ROOT
    return MONITOR if keys.is_monitor(key) else None


def permit(route: Route, principal: Principal) -> None:
    """Raises Forbidden or MissingScope for a valid key that does not open ``route``."""
    if route.auth is Auth.ROOT_KEY and principal != ROOT:
        raise Forbidden("only the root key opens this")
    if route.scope is not None and not principal.may(route.scope):
        raise MissingScope(f"the key lacks the scope {route.scope}")
