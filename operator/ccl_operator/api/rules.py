"""What a specification must hold to beyond its shape, each rule written once: as CEL for the CRD, and as a check inside
the reconcile, because an older CRD may still be installed. Here is what joins fields; ``field_rules`` has what looks at
one, ``pod_rules`` what looks at pods.

A transition rule compares with the object before the change; only the API server sees both, so it has no check here.
"""

from collections.abc import Callable, Iterable
from typing import Final

from ccl_operator import names
from ccl_operator.api.conformance import Place
from ccl_operator.api.field_rules import FIELD_RULES
from ccl_operator.api.pod_rules import POD_RULES
from ccl_operator.api.rule import Entries, Rule
from ccl_operator.api.v1alpha1 import KeySource, Spec
from ccl_operator.api.values import cpu_millis, duration
from ccl_operator.api.workload import Component, Peer
from ccl_operator.environment import EITHER, RENDERED


def _key_rule(field: str, pick: Callable[[Spec], KeySource]) -> Rule:
    return Rule(
        path=("spec", "secrets", field),
        cel="(has(self.generate) && self.generate) != has(self.secretKeyRef)",
        message=f"secrets.{field} needs exactly one of generate: true and secretKeyRef",
        holds=lambda _, spec: bool(pick(spec).generate) != (pick(spec).secret_key_ref is not None),
    )


def _production(cel: str, message: str, holds: Callable[[Spec], bool]) -> Rule:
    return Rule(
        path=("spec",),
        cel=f"self.environment != 'production' || ({cel})",
        message=f"environment production {message}",
        holds=lambda _, spec: spec.environment != "production" or holds(spec),
    )


def _extra_env_rule(component: str, pick: Callable[[Spec], Component]) -> Rule:
    reserved = RENDERED - EITHER
    listed = ", ".join(f"'{name}'" for name in sorted(reserved))

    def taken(spec: Spec) -> dict[int, str]:
        return {index: item.name for index, item in enumerate(pick(spec).extra_env) if item.name in reserved}

    return Rule(
        path=("spec", component, "extraEnv"),
        cel=f"!(self.name in [{listed}])",
        message=f"{component}.extraEnv takes any variable that the operator does not set itself",
        holds=lambda _, spec: not taken(spec),
        # On each, because the API server estimates the cost of joining several names a hundred times too high.
        entries=Entries("self.name", "; it sets ", taken),
    )


def _unique_rule(field: str, pick: Callable[[Spec], Iterable[str]]) -> Rule:
    """Names in a list that the children keep by name: server-side apply answers 500 to a double one."""
    *parents, last = field.split(".")
    here = f"self.{last}"

    def holds(_: str, spec: Spec) -> bool:
        found = [*pick(spec)]
        return len(set(found)) == len(found)

    return Rule(
        path=("spec", *parents),
        cel=f"!has({here}) || {here}.all(a, {here}.exists_one(b, a.name == b.name))",
        message=f"{field} must not hold a name twice",
        holds=holds,
    )


def _either_rule(variable: str, field: str, given: Callable[[Spec], bool]) -> Rule:
    """A variable of EITHER may be in ``extraEnv`` while the field that renders it is absent."""
    parent = field.partition(".")[0]
    names_it = f"extraEnv.exists(v, v.name in ['{variable}', '{variable}_FILE'])"
    present = " && ".join(f"has(self.{each})" for each in (parent, field))
    return Rule(
        path=("spec",),
        cel=f"!({present}) || !((has(self.web.extraEnv) && self.web.{names_it})"
        f" || (has(self.jobs.extraEnv) && self.jobs.{names_it}))",
        message=f"web.extraEnv and jobs.extraEnv must not set {variable} beside {field}",
        holds=lambda _, spec: not given(spec) or not _extra_names(spec) & {variable, f"{variable}_FILE"},
    )


def _extra_names(spec: Spec) -> frozenset[str]:
    return frozenset(item.name for component in (spec.web, spec.jobs) for item in component.extra_env)


def _is_one_peer(peer: Peer) -> bool:
    return (peer.ip_block is not None) != (peer.namespace_selector is not None or peer.pod_selector is not None)


def _immutable(cel: str, message: str) -> Rule:
    return Rule(path=("spec",), cel=cel, message=message, holds=None)


RULES: Final[tuple[Rule, ...]] = (
    Rule(
        path=(),
        cel=f"self.metadata.name.matches('{names.NAME_PATTERN}') && size(self.metadata.name) <= {names.MAX_NAME}",
        message=f"metadata.name must match {names.NAME_PATTERN} and have at most {names.MAX_NAME} characters",
        holds=lambda name, _: names.valid_instance(name),
    ),
    _production(
        "has(self.http.corsOrigins) && size(self.http.corsOrigins) > 0",
        "requires http.corsOrigins",
        lambda spec: bool(spec.http.cors_origins),
    ),
    _production(
        "!has(self.http.corsOrigins) || self.http.corsOrigins.all(o, o != '*')",
        "takes exact origins only; http.corsOrigins must not hold *",
        lambda spec: "*" not in spec.http.cors_origins,
    ),
    _production("has(self.secrets.mailgun)", "requires secrets.mailgun", lambda spec: spec.secrets.mailgun is not None),
    _production("has(self.secrets.openai)", "requires secrets.openai", lambda spec: spec.secrets.openai is not None),
    _key_rule("internalApiKey", lambda spec: spec.secrets.internal_api_key),
    _key_rule("jwt", lambda spec: spec.secrets.jwt),
    _key_rule("session", lambda spec: spec.secrets.session),
    Rule(
        path=("spec", "promotion"),
        cel="!has(self.minReady) || !has(self.deadline) || self.minReady < self.deadline",
        message="promotion.minReady must be below promotion.deadline: no pod could prove itself in time",
        holds=lambda _, spec: duration(spec.promotion.min_ready) < duration(spec.promotion.deadline),
    ),
    Rule(
        path=("spec", "database"),
        cel="has(self.urlFrom) != has(self.embedded)",
        message="database needs exactly one of urlFrom and embedded",
        holds=lambda _, spec: (spec.database.url_from is None) != (spec.database.embedded is None),
    ),
    Rule(
        path=("spec", "sessions", "redis"),
        cel="has(self.urlFrom) != has(self.embedded)",
        message="sessions.redis needs exactly one of urlFrom and embedded",
        holds=lambda _, spec: (
            spec.sessions.redis is None
            or (spec.sessions.redis.url_from is None) != (spec.sessions.redis.embedded is None)
        ),
    ),
    Rule(
        path=("spec",),
        cel="self.replicas <= 1 || has(self.sessions.redis)",
        message="replicas above 1 need sessions.redis",
        holds=lambda _, spec: spec.replicas <= 1 or spec.sessions.redis is not None,
    ),
    Rule(
        path=("spec",),
        cel="!has(self.autoscaling) || self.autoscaling.max <= 1 || has(self.sessions.redis)",
        message="autoscaling.max above 1 needs sessions.redis",
        holds=lambda _, spec: spec.autoscaling is None or spec.autoscaling.max <= 1 or spec.sessions.redis is not None,
    ),
    Rule(
        path=("spec", "autoscaling"),
        cel="self.min <= self.max",
        message="autoscaling.min must not be above autoscaling.max",
        holds=lambda _, spec: spec.autoscaling is None or spec.autoscaling.min <= spec.autoscaling.max,
    ),
    Rule(
        path=("spec",),
        cel="!has(self.autoscaling) || (has(self.web.resources.requests.cpu)"
        " && quantity(self.web.resources.requests.cpu).isGreaterThan(quantity('0')))",
        message="autoscaling needs web.resources.requests.cpu above 0: it counts in percent of that",
        holds=lambda _, spec: spec.autoscaling is None or cpu_millis(spec.web.resources.requests.cpu or "0") > 0,
    ),
    Rule(
        path=("spec", "http"),
        cel="has(self.host) || (!has(self.ingressClassName) && !has(self.tlsSecretName))",
        message="http.ingressClassName and http.tlsSecretName need http.host",
        holds=lambda _, spec: (
            spec.http.host is not None or (spec.http.ingress_class_name is None and spec.http.tls_secret_name is None)
        ),
    ),
    Rule(
        path=("spec", "database"),
        cel="has(self.urlFrom) || (!has(self.directUrlFrom) && !has(self.replicaUrlsFrom))",
        message="database.directUrlFrom and database.replicaUrlsFrom need database.urlFrom",
        holds=lambda _, spec: (
            spec.database.url_from is not None
            or (spec.database.direct_url_from is None and spec.database.replica_urls_from is None)
        ),
    ),
    Rule(
        path=("spec", "networkPolicy"),
        cel="self.allowFrom.all(p, has(p.ipBlock) != (has(p.namespaceSelector) || has(p.podSelector)))",
        message="networkPolicy.allowFrom takes per entry either ipBlock or namespaceSelector and podSelector",
        holds=lambda _, spec: spec.network_policy is None or all(map(_is_one_peer, spec.network_policy.allow_from)),
    ),
    *FIELD_RULES,
    _either_rule("SENTRY_DSN", "secrets.sentry", lambda spec: spec.secrets.sentry is not None),
    _either_rule(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "monitoring.otlpEndpoint",
        lambda spec: spec.monitoring is not None and spec.monitoring.otlp_endpoint is not None,
    ),
    *POD_RULES,
    Rule(
        path=("spec", "http", "trustProxy"),
        cel="has(self.hops) != has(self.cidrs)",
        message="http.trustProxy needs exactly one of hops and cidrs",
        holds=lambda _, spec: (
            spec.http.trust_proxy is None
            or (spec.http.trust_proxy.hops is None) != (spec.http.trust_proxy.cidrs is None)
        ),
    ),
    _extra_env_rule("web", lambda spec: spec.web),
    _extra_env_rule("jobs", lambda spec: spec.jobs),
    _unique_rule("imagePullSecrets", lambda spec: (each.name for each in spec.image_pull_secrets)),
    _unique_rule("web.extraEnv", lambda spec: (each.name for each in spec.web.extra_env)),
    _unique_rule("jobs.extraEnv", lambda spec: (each.name for each in spec.jobs.extra_env)),
    _immutable(
        "has(self.database.embedded) == has(oldSelf.database.embedded)",
        "database cannot change between urlFrom and embedded: the data would stay behind",
    ),
    _immutable(
        "!has(self.database.embedded) || !has(oldSelf.database.embedded)"
        " || (self.database.embedded.version == oldSelf.database.embedded.version"
        " && self.database.embedded.storage == oldSelf.database.embedded.storage)",
        "database.embedded cannot change: another major version or size is another volume",
    ),
    _immutable(
        "!has(self.backup) || !has(oldSelf.backup)"
        " || self.backup.destination.pvc.size == oldSelf.backup.destination.pvc.size",
        "backup.destination.pvc.size cannot change",
    ),
)


def broken(name: str, spec: Spec) -> tuple[tuple[Place, str], ...]:
    """Where rules do not hold and what is to be said of it, in table order; empty when all do."""
    return tuple(each for rule in RULES for each in rule.broken(name, spec))


def violations(name: str, spec: Spec) -> tuple[str, ...]:
    """What is to be said alone."""
    return tuple(message for _, message in broken(name, spec))
