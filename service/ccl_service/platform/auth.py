"""Who may call a route. The policy stands in the route table; this module enforces it.

Visitor tokens are issued and read here; what a visitor may see is the chat's business.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from aiohttp import web

from ccl_service.platform.keys import KeyRing
from ccl_service.platform.problems import Unauthenticated

VISITOR_PURPOSE: Final = "visitor"
VISITOR_LIFETIME: Final = timedelta(hours=12)


class Auth(StrEnum):
    """A route's policy."""

    PUBLIC = "public"
    ROOT_KEY = "root_key"
    MONITOR = "monitor"
    VISITOR = "visitor"
    #: The handler verifies a signature of the sender's; nobody is let in by this module.
    SIGNATURE = "signature"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls: ``kind`` is public, root, monitor or visitor; ``id`` a key id or a conversation id, never a name."""

    kind: str
    id: str = ""


ANONYMOUS: Final = Principal("public")
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


def authenticate(auth: Auth, headers: Mapping[str, str], keys: KeyRing, *, now: datetime) -> Principal:
    """The principal behind a request. Raises Unauthenticated when the policy asks for more than was shown."""
    if auth in {Auth.PUBLIC, Auth.SIGNATURE}:
        return recognise(headers, keys)
    key = presented_key(headers)
    if key is None:
        raise Unauthenticated("send a key as Authorization: Bearer or X-API-Key")
    if auth is Auth.VISITOR:
        return Principal("visitor", verify_visitor(keys, key, now=now))
    if keys.is_root(key):
        return Principal("root", "internal-api")
    if auth is Auth.MONITOR and keys.is_monitor(key):
        return Principal("monitor", "monitor")
    raise Unauthenticated("the key is not valid here")


def recognise(headers: Mapping[str, str], keys: KeyRing) -> Principal:
    """The principal on an open route: a valid key is honoured, anything else is anonymous."""
    key = presented_key(headers)
    if key is not None and keys.is_root(key):
        return Principal("root", "internal-api")
    if key is not None and keys.is_monitor(key):
        return Principal("monitor", "monitor")
    return ANONYMOUS
