"""What Schemathesis has to know of the service to get past its doors: who calls, and what some texts look like.

Environment: SERVICE_URL, ROOT_KEY, SCOPED_KEY (a key with every scope) and its id SCOPED_KEY_ID, WEBHOOK_KEY.
"""

import hmac
import ipaddress
import os
import time
from datetime import UTC, datetime
from hashlib import sha256
from itertools import count
from typing import Any

import requests
import schemathesis
from hypothesis import strategies as st
from schemathesis import AuthContext, Case, HookContext, Response

#: What lasts as long as it is asked to.
LASTING = {"/api/monitoring/profile", "/api/monitoring/shed"}
CHAT, EVENTS, WEBHOOK = "/api/chat", "/api/chat/turns/{id}/events", "/api/webhooks/mailgun"
#: Calls that one conversation is used for: fewer than its limit of a minute.
MOST_IN_CONVERSATION = 30
_ADDRESSES = count(int(ipaddress.IPv4Address("203.0.0.1")))

_SECONDS = st.integers(0, 1_700_000_000)
schemathesis.openapi.format("date-time", _SECONDS.map(lambda at: datetime.fromtimestamp(at, UTC).isoformat()))
schemathesis.openapi.format("email", st.from_regex(r"[a-z][a-z0-9]{0,8}@example\.(com|org)", fullmatch=True))
schemathesis.openapi.format("phone", st.from_regex(r"\+1 617 555 [0-9]{4}", fullmatch=True))
schemathesis.openapi.format("name", st.from_regex(r"[A-Za-zÀ-ž][A-Za-zÀ-ž '-]{0,20}", fullmatch=True))


@schemathesis.serializer("text/csv")
def as_csv(_: Any, value: Any) -> bytes:
    """A CSV body is sent as it was generated."""
    return value if isinstance(value, bytes) else str(value).encode()


class Conversations:
    """The visitor: one conversation after the other, and which turn belongs to which."""

    def __init__(self) -> None:
        self._token, self._used = "", MOST_IN_CONVERSATION
        self._of_turn: dict[str, str] = {}

    def token(self, case: Case) -> str:
        """The token for a call: that of the turn's conversation where there is one."""
        turn = (case.path_parameters or {}).get("id")
        if isinstance(turn, str) and turn in self._of_turn:
            return self._of_turn[turn]
        if self._used >= MOST_IN_CONVERSATION:
            url = f"{os.environ['SERVICE_URL']}/api/chat/sessions"
            opened = requests.post(url, json={}, headers={"X-Forwarded-For": next_address()}, timeout=10)
            self._token, self._used = opened.json()["visitor_token"], 0
        self._used += 1
        return self._token

    def spoke(self, turn: str, token: str) -> None:
        """A turn was begun."""
        self._of_turn[turn] = token


CONVERSATIONS = Conversations()


def next_address() -> str:
    """An address that nobody has called from."""
    return str(ipaddress.IPv4Address(next(_ADDRESSES)))


@schemathesis.auth(refresh_interval=None)
class Caller:
    """The root key where only that opens, a scoped key where a scope does, else a visitor."""

    def get(self, case: Case, _: AuthContext) -> dict[str, str] | None:
        schemes = case.operation.definition.raw.get("security") or []
        roles = {name: roles for scheme in schemes for name, roles in scheme.items()}
        if "visitorToken" in roles:
            return {"Authorization": f"Bearer {CONVERSATIONS.token(case)}"}
        if "bearerKey" not in roles:
            return None
        if roles["bearerKey"] == ["root"]:
            return {"Authorization": f"Bearer {os.environ['ROOT_KEY']}"}
        return {"X-API-Key": os.environ["SCOPED_KEY"]}

    def set(self, case: Case, data: dict[str, str], _: AuthContext) -> None:
        case.headers = {**(case.headers or {}), **data}


@schemathesis.hook
def filter_case(_: HookContext, case: Case) -> bool:
    """Nobody takes the run's own key away."""
    return (case.path_parameters or {}).get("id") != os.environ["SCOPED_KEY_ID"]


@schemathesis.hook
def before_call(_: HookContext, case: Case, kwargs: dict[str, Any]) -> None:
    """Each call comes from an address of its own, so that no limit hides what would have happened."""
    case.headers = {**(case.headers or {}), "X-Forwarded-For": next_address()}
    if case.meta is not None and not case.meta.generation.mode.is_positive:
        return
    if case.path in LASTING:
        case.query = {**(case.query or {}), "seconds": 1}
    if "Idempotency-Key" in case.headers:
        # one that was used with another body is refused, which is no fault of this body
        case.headers["Idempotency-Key"] = str(next(_ADDRESSES))
    if case.path == WEBHOOK and isinstance(case.body, dict):
        case.body["signature"] = _signed(case.body["signature"]["token"])


def _signed(token: str) -> dict[str, str]:
    timestamp = str(int(time.time()))
    digest = hmac.new(os.environ["WEBHOOK_KEY"].encode(), f"{timestamp}{token}".encode(), sha256).hexdigest()
    return {"timestamp": timestamp, "token": token, "signature": digest}


@schemathesis.hook
def after_call(_: HookContext, case: Case, response: Response) -> None:
    """Remember whose turn it is."""
    if case.path == CHAT and response.status_code == 202:
        CONVERSATIONS.spoke(response.json()["turn_id"], response.request.headers["Authorization"].split()[1])
