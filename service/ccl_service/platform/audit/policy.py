"""Which calls that change something leave no audit row, and where they leave their trace instead.

Every other route that is not a GET names its action in the route table (``Route.audit``) and records it in the
transaction of its effect. A call that was refused, or failed, changed nothing and leaves no row; refused credentials
are counted (``ccl_http_requests_total`` by status).
"""

from collections.abc import Mapping
from typing import Final

#: (method, path) → where the trace is.
EXCEPTIONS: Final[Mapping[tuple[str, str], str]] = {
    (
        "POST",
        "/api/leads",
    ): "lead_events: the lead's timeline, append-only, written with the lead, names key and request",
    ("POST", "/api/webhooks/mailgun"): "send_events: one row per event of the provider, written with its effect",
    ("POST", "/api/u/{token}"): "suppressions and lead_events: what the person decided, and when",
    ("POST", "/api/chat/sessions"): "conversations, and lead_events when the visitor is known",
    ("POST", "/api/chat"): "messages, and lead_events when the visitor is known",
    ("GET", "/api/chat/ws"): "messages: what is said on a socket is stored like what is said by POST /api/chat",
    ("POST", "/api/monitoring/shed"): "the log: it moves callers of one process for some seconds and changes no data",
}
