"""For each rule of ``api.rules`` an object that it accepts and one that it refuses, as changes to a good specification.

Used twice: against the Python check, and against a real API server.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final

GOOD: Final[Mapping[str, Any]] = {
    "image": "localhost/ccl/ccl-service:1",
    "http": {"corsOrigins": ["https://loans.example.com"]},
    "secrets": {
        "mailgun": {"secretRef": "mailgun", "domain": "mg.example.com"},
        "openai": {"secretRef": "openai"},
    },
    "database": {"embedded": {"version": 17, "storage": "1Gi"}},
    "backup": {"schedule": "0 2 * * *", "destination": {"pvc": {"size": "1Gi"}}},
}
REMOVED: Final = object()
SELECTOR: Final = {"name": "db", "key": "url"}
Changes = Mapping[str, Any]


@dataclass(frozen=True)
class Case:
    """``rule`` is a part of the message; the name and the changes are tried as they are."""

    rule: str
    accepted: Changes
    refused: Changes
    name_accepted: str = "ccl"
    name_refused: str = "ccl"


def changed(spec: Mapping[str, Any], changes: Changes) -> dict[str, Any]:
    """A copy with values at dotted paths; REMOVED takes a field away."""
    result = deepcopy(dict(spec))
    for path, value in changes.items():
        *parents, last = path.split(".")
        place = result
        for parent in parents:
            place = place.setdefault(parent, {})
        if value is REMOVED:
            place.pop(last, None)
        else:
            place[last] = value
    return result


CASES: Final = (
    Case("metadata.name must match", {}, {}, name_accepted="a" * 40, name_refused="a" * 41),
    Case("metadata.name must match", {}, {}, name_accepted="c-1", name_refused="1c"),
    Case(
        "requires http.corsOrigins",
        {"environment": "staging", "http.corsOrigins": []},
        {"http.corsOrigins": []},
    ),
    Case(
        "takes exact origins only",
        {"environment": "development", "http.corsOrigins": ["*"]},
        {"http.corsOrigins": ["https://loans.example.com", "*"]},
    ),
    Case(
        "requires secrets.mailgun",
        {"environment": "staging", "secrets.mailgun": REMOVED},
        {"secrets.mailgun": REMOVED},
    ),
    Case(
        "requires secrets.openai",
        {"environment": "staging", "secrets.openai": REMOVED},
        {"secrets.openai": REMOVED},
    ),
    Case("secrets.rotateAfter", {"secrets.rotateAfter": "24h"}, {"secrets.rotateAfter": "23h59m"}),
    Case(
        "secrets.internalApiKey needs exactly one",
        {"secrets.internalApiKey": {"secretKeyRef": SELECTOR}},
        {"secrets.internalApiKey": {"secretKeyRef": SELECTOR, "generate": True}},
    ),
    Case("secrets.jwt needs exactly one", {"secrets.jwt": {"generate": True}}, {"secrets.jwt": {"generate": False}}),
    Case("secrets.session needs exactly one", {"secrets.session": {"generate": True}}, {"secrets.session": {}}),
    Case(
        "database needs exactly one",
        {"database": {"urlFrom": {"secretKeyRef": SELECTOR}}},
        {"database.urlFrom": {"secretKeyRef": SELECTOR}},
    ),
    Case("database needs exactly one", {}, {"database": {}}),
    Case(
        "sessions.redis needs exactly one",
        {"sessions": {"redis": {"embedded": {}}}},
        {"sessions": {"redis": {"embedded": {}, "urlFrom": {"secretKeyRef": SELECTOR}}}},
    ),
    Case(
        "replicas above 1 need sessions.redis",
        {"replicas": 2, "sessions": {"redis": {"embedded": {}}}},
        {"replicas": 2},
    ),
    Case(
        "autoscaling.max above 1 needs sessions.redis",
        {"autoscaling": {"max": 3}, "sessions": {"redis": {"embedded": {}}}},
        {"autoscaling": {"max": 3}},
    ),
    Case(
        "autoscaling.min must not be above",
        {"autoscaling": {"min": 2, "max": 2}, "sessions": {"redis": {"embedded": {}}}},
        {"autoscaling": {"min": 3, "max": 2}, "sessions": {"redis": {"embedded": {}}}},
    ),
    Case(
        "autoscaling needs web.resources.requests.cpu",
        {"autoscaling": {"max": 1}, "web.resources": {"requests": {"cpu": "1"}}},
        {"autoscaling": {"max": 1}, "web.resources": {"requests": {"memory": "1Gi"}}},
    ),
    Case(
        "http.ingressClassName and http.tlsSecretName need",
        {"http.host": "loans.example.com", "http.tlsSecretName": "tls", "http.ingressClassName": "nginx"},
        {"http.tlsSecretName": "tls"},
    ),
    Case(
        "database.directUrlFrom and database.replicaUrlsFrom need",
        {
            "database": {
                "urlFrom": {"secretKeyRef": SELECTOR},
                "directUrlFrom": {"secretKeyRef": SELECTOR},
                "replicaUrlsFrom": {"secretKeyRef": SELECTOR},
            }
        },
        {"database.directUrlFrom": {"secretKeyRef": SELECTOR}},
    ),
    Case(
        "networkPolicy.allowFrom takes per entry",
        {"networkPolicy": {"allowFrom": [{"podSelector": {}, "namespaceSelector": {}}, {"ipBlock": {"cidr": "::/0"}}]}},
        {"networkPolicy": {"allowFrom": [{"podSelector": {}, "ipBlock": {"cidr": "10.0.0.0/8"}}]}},
    ),
    *(
        case
        for component in ("web", "jobs")
        for case in (
            Case(
                f"{component}.template.labels must not set",
                {f"{component}.template": {"labels": {"team": "loans"}}},
                {f"{component}.template": {"labels": {"app.kubernetes.io/instance": "other"}}},
            ),
            Case(
                f"{component}.template.tolerations needs key",
                {f"{component}.template": {"tolerations": [{"operator": "Exists"}, {"key": "a", "value": "b"}]}},
                {f"{component}.template": {"tolerations": [{"value": "b"}]}},
            ),
        )
    ),
    Case(
        "http.trustProxy needs exactly one",
        {"http.trustProxy": {"cidrs": ["10.0.0.0/8"]}},
        {"http.trustProxy": {"cidrs": ["10.0.0.0/8"], "hops": 1}},
    ),
    Case(
        "web.extraEnv must not set",
        {"web.extraEnv": [{"name": "LOG_LEVEL", "value": "info"}]},
        {"web.extraEnv": [{"name": "DATABASE_URL", "value": "postgresql://elsewhere"}]},
    ),
    Case(
        "jobs.extraEnv must not set",
        {"jobs.extraEnv": [{"name": "LOG_LEVEL", "value": "info"}]},
        {"jobs.extraEnv": [{"name": "NODE_ENV", "value": "development"}]},
    ),
)
