"""For each rule of ``api.rules`` an object that it accepts and one that it refuses, as changes to a good specification.

Used twice: against the Python check, and against a real API server.
"""

from collections.abc import Iterator, Mapping, Sequence
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

#: Keys of labels and annotations.
KEYS: Final = (
    ("team", "of loans"),
    ("example.com/Team_1.x", "example.com/team/x"),
    ("a" * 63, "a" * 64),
    ("a-1.b/c", "A.b/c"),
    ("9", "-a"),
    ("example.com/a", "example..com/a"),
)
TEMPLATES: Final = (
    "web.template",
    "jobs.template",
    "database.pooler.template",
    "database.embedded.template",
    "sessions.redis.embedded.template",
)
SPANS: Final = (
    *(("database.pool.idleTimeout", good, bad) for good, bad in (("0s", "24h1ms"), ("24h", "2d"))),
    *(("database.pool.connectTimeout", good, bad) for good, bad in (("100ms", "99ms"), ("1h", "61m"))),
    *(("migration.timeout", good, bad) for good, bad in (("10s", "0s"), ("1d", "999999h"))),
    *(("promotion.deadline", good, bad) for good, bad in (("16s", "9s999ms"), ("24h", "9999d"))),
    ("promotion.minReady", "0s", "12h1s"),
    *(("secrets.rotateAfter", good, bad) for good, bad in (("24h", "23h59m"), ("90d", "731d"), ("1d12h", "999999h"))),
)
#: So that a span can be broken alone.
PATIENT: Final = {
    "promotion.minReady": {"promotion.deadline": "24h"},
    "promotion.deadline": {"promotion.minReady": "0s"},
}


def _key_cases(field: str, keys: Sequence[tuple[str, str]]) -> Iterator[Case]:
    for good, bad in keys:
        yield Case(f"{field} takes keys", {field: {good: "v"}}, {field: {"b": "v", bad: "v"}})


def _request_cases(component: str, name: str, good: tuple[str, str], bad: tuple[str, str]) -> Iterator[Case]:
    """Pairs of a request and its limit."""
    accepted, refused = ({"requests": {name: asked}, "limits": {name: most}} for asked, most in (good, bad))
    yield Case(
        f"{component}.resources.requests.{name} must not be above",
        {f"{component}.resources": accepted},
        {f"{component}.resources": refused},
    )


def _template_cases(place: str) -> Iterator[Case]:
    yield Case(
        f"{place}.labels must not set",
        {place: {"labels": {"team": "loans"}}},
        {place: {"labels": {"app.kubernetes.io/instance": "other"}}},
    )
    yield Case(
        f"{place}.tolerations needs key",
        {place: {"tolerations": [{"operator": "Exists"}, {"key": "a", "value": "b"}]}},
        {place: {"tolerations": [{"value": "b"}]}},
    )
    yield Case(
        f"{place}.tolerations takes tolerationSeconds",
        {place: {"tolerations": [{"key": "a", "effect": "NoExecute", "tolerationSeconds": 0}]}},
        {place: {"tolerations": [{"key": "a", "tolerationSeconds": 60}]}},
    )
    for field in ("labels", "annotations", "nodeSelector"):
        yield from _key_cases(f"{place}.{field}", KEYS[:1])


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
        {"autoscaling": {"max": 1}, "web.resources": {"requests": {"memory": "256Mi"}}},
    ),
    Case(
        "autoscaling needs web.resources.requests.cpu",
        {"autoscaling": {"max": 1}, "web.resources": {"requests": {"cpu": "1m"}}},
        {"autoscaling": {"max": 1}, "web.resources": {"requests": {"cpu": "0.0"}}},
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
            *_request_cases(component, "cpu", ("500m", "0.5"), ("1.001", "1")),
            *_request_cases(component, "memory", ("1Gi", "1024Mi"), ("1Gi", "1G")),
            Case(
                f"{component}.resources.requests.memory must not be above",
                {f"{component}.resources": {"requests": {"memory": "512Mi"}}},
                {f"{component}.resources": {"requests": {"memory": "513Mi"}}},
            ),
        )
    ),
    *(case for place in TEMPLATES for case in _template_cases(place)),
    *_key_cases("serviceAccount.annotations", KEYS),
    *_key_cases("monitoring.labels", KEYS[:1]),
    Case(
        "monitoring.labels must not set",
        {"monitoring": {"labels": {"release": "prometheus"}}},
        {"monitoring": {"labels": {"app.kubernetes.io/name": "other"}}},
    ),
    *(
        Case(
            "networkPolicy.allowFrom in its labels",
            {"networkPolicy": {"allowFrom": [{selector: {"matchLabels": {good: "v"}}}]}},
            {"networkPolicy": {"allowFrom": [{"podSelector": {}}, {selector: {"matchLabels": {bad: "v"}}}]}},
        )
        for selector in ("podSelector", "namespaceSelector")
        for good, bad in KEYS[:2]
    ),
    Case(
        "promotion.minReady must be below",
        {"promotion": {"minReady": "59s", "deadline": "1m"}},
        {"promotion": {"minReady": "60s", "deadline": "1m"}},
    ),
    Case(
        "http.trustProxy needs exactly one",
        {"http.trustProxy": {"cidrs": ["10.0.0.0/8"]}},
        {"http.trustProxy": {"cidrs": ["10.0.0.0/8"], "hops": 1}},
    ),
    Case(
        "web.extraEnv takes any variable that the operator does not set itself",
        {"web.extraEnv": [{"name": "LOG_LEVEL", "value": "info"}]},
        {"web.extraEnv": [{"name": "DATABASE_URL", "value": "postgresql://elsewhere"}]},
    ),
    Case(
        "web.extraEnv takes any variable that the operator does not set itself; it sets PORT",
        {"web.extraEnv": [{"name": "PORTS", "value": "1"}]},
        {"web.extraEnv": [{"name": "LOG_LEVEL", "value": "info"}, {"name": "PORT", "value": "1"}]},
    ),
    Case(
        "jobs.extraEnv takes any variable that the operator does not set itself",
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
    *(_field("database.embedded.storage", good, bad) for good, bad in (("64Mi", "63.9Mi"), ("1Gi", "0"))),
    *(_field("backup.destination.pvc.size", good, bad) for good, bad in (("64Mi", "0Gi"), ("1000Ti", "1001Ti"))),
    *(
        Case(f"{field} must be from", {**PATIENT.get(field, {}), field: good}, {**PATIENT.get(field, {}), field: bad})
        for field, good, bad in SPANS
    ),
    *(_field("mail.from", good, bad) for good, bad in SENDERS),
    *(_field("backup.schedule", good, bad) for good, bad in SCHEDULES),
    *(_field("backup.timeZone", good, bad) for good, bad in ZONES),
)
