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


def _field(field: str, good: Any, bad: Any) -> Case:
    """One field alone: its rule begins with its path."""
    return Case(f"{field} ", {field: good}, {field: bad})


NAMES: Final = (
    ("loans.example.com", "loans..example.com"),
    ("a-1.b2.localhost", "loans.example.com."),
    ("xn--bcher-kva.example", "-loans.example.com"),
    ("l" * 63 + ".com", "l" * 64 + ".com"),
    ("1.example.com", "192.0.2.1"),
)
ORIGINS: Final = (
    ("https://loans.example.com", "https://loans_app.example.com"),
    ("http://localhost:65535", "https://loans.example.com:65536"),
    ("https://192.0.2.1:1", "https://loans.example.com:0"),
    ("https://[2001:db8::1]:8443", "https://[2001:db8:::1]"),
    ("https://Loans.Example.com", "https://loans.example.com/"),
    ("https://a", "ftp://loans.example.com"),
)
URLS: Final = (
    ("https://api.example.com/v3", "https://"),
    ("http://otel_collector.monitoring:4318", "http://otel:65536"),
    ("http://[::1]:4318/v1?x=y", "http://[::1::]:4318"),
    ("http://192.0.2.1", "https://user:pass@api.example.com"),
    ("https://a/b", "https://a/b#c"),
)
NETWORKS: Final = (
    ("10.0.0.0/8", "10.0.0.1/8"),
    ("fd00::/8", "fd00::1/8"),
    ("192.0.2.1", "192.0.2.256"),
    ("2001:db8::1/128", "10.0.0.0/33"),
    ("0.0.0.0/0", "loopback"),
)
SENDERS: Final = (
    ("cathy@mg.example.com", "Cathy"),
    ("Cathy O'Hara <cathy@mg.example.com>", "Cathy <mg.example.com>"),
    ('"Loans, Inc." <cathy@mg.example.com>', "Loans, Inc. <cathy@mg.example.com>"),
    ("Žofie <cathy@mg.example.com>", "Cathy\r\nBcc: <cathy@mg.example.com>"),
)
SCHEDULES: Final = (
    ("0 2 * * *", "every day of week"),
    ("*/15 0-6 1,15 JAN-mar Mon-Fri", "0 2 * *"),
    ("0 2 31 1 6", "99 2 * * *"),
    ("5/10 * * * *", "0 2 * * 7"),
    ("0 0 29 2 *", "@midnight"),
)
ZONES: Final = (("America/Chicago", "../etc/passwd"), ("UTC", ""), ("Etc/GMT+5", "America/"))

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
    Case(
        "imagePullSecrets must not hold a name twice",
        {"imagePullSecrets": [{"name": "one"}, {"name": "two"}]},
        {"imagePullSecrets": [{"name": "one"}, {"name": "two"}, {"name": "one"}]},
    ),
    *(
        Case(
            f"{component}.extraEnv must not hold a name twice",
            {f"{component}.extraEnv": [{"name": "A", "value": "1"}, {"name": "B", "value": "1"}]},
            {f"{component}.extraEnv": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]},
        )
        for component in ("web", "jobs")
    ),
    Case(
        "extraEnv must not set SENTRY_DSN beside secrets.sentry",
        {"web.extraEnv": [{"name": "SENTRY_DSN", "value": "https://k@sentry.example.com/1"}]},
        {"secrets.sentry": {"secretRef": "sentry"}, "web.extraEnv": [{"name": "SENTRY_DSN", "value": "x"}]},
    ),
    Case(
        "extraEnv must not set OTEL_EXPORTER_OTLP_ENDPOINT beside monitoring.otlpEndpoint",
        {"monitoring": {}, "jobs.extraEnv": [{"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://otel:4318"}]},
        {
            "monitoring": {"otlpEndpoint": "http://otel:4318"},
            "jobs.extraEnv": [{"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://otel:4318"}],
        },
    ),
    *(_field("http.host", good, bad) for good, bad in NAMES),
    *(_field("secrets.mailgun.domain", good, bad) for good, bad in NAMES),
    *(_field("http.corsOrigins", [good], [good, bad]) for good, bad in ORIGINS),
    *(
        _field(field, good, bad)
        for field in ("secrets.mailgun.baseUrl", "secrets.openai.baseUrl", "monitoring.otlpEndpoint")
        for good, bad in URLS
    ),
    *(_field("http.trustProxy.cidrs", [good], [good, bad]) for good, bad in NETWORKS),
    *(
        Case(
            "networkPolicy.allowFrom takes in ipBlock.cidr",
            {"networkPolicy": {"allowFrom": [{"ipBlock": {"cidr": good}}]}},
            {"networkPolicy": {"allowFrom": [{"podSelector": {}}, {"ipBlock": {"cidr": bad}}]}},
        )
        for good, bad in (("10.0.0.0/8", "10.0.0.1/8"), ("::/0", "::1"))
    ),
    *(_field("http.bodyLimit", good, bad) for good, bad in (("1Ki", "1023"), ("1024", "0"), ("100Mi", "101Mi"))),
    *(_field("mail.from", good, bad) for good, bad in SENDERS),
    *(_field("backup.schedule", good, bad) for good, bad in SCHEDULES),
    *(_field("backup.timeZone", good, bad) for good, bad in ZONES),
)
