"""Rules of what the specification says on pods: amounts of resources, placement, keys of labels and annotations.

They refuse what the API server would refuse only of the children, when the specification has long been taken.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from ccl_operator import names
from ccl_operator.api import forms
from ccl_operator.api.rule import Rule
from ccl_operator.api.v1alpha1 import Spec
from ccl_operator.api.values import cpu_millis, whole_bytes
from ccl_operator.api.workload import Component, Template, Toleration

#: Prefixes of labels that selectors and the operator's own bookkeeping rely on.
OWN_LABELS: Final = ("app.kubernetes.io/", f"{names.GROUP}/")
_KEYS: Final = (
    "takes keys of at most 63 letters, digits, -, _ and . with a letter or digit at both ends,"
    " perhaps behind a DNS name and a /"
)
_OWN: Final = f"must not set labels that begin with {' or '.join(OWN_LABELS)}, which are the operator's"
_CEL_OWN: Final = "k, !(" + " || ".join(f"k.startsWith('{prefix}')" for prefix in OWN_LABELS) + ")"
_CEL_KEYS: Final = f"k, {forms.cel_matches('k', forms.LABEL_KEY)}"
#: A DNS name, before the slash of a key.
_LONGEST_PREFIX: Final = 253
_AMOUNTS: Final[Mapping[str, Callable[[str], int]]] = {"cpu": cpu_millis, "memory": whole_bytes}


def _resource_rules(component: str, pick: Callable[[Spec], Component]) -> tuple[Rule, ...]:
    return tuple(_request_rule(component, quantity, pick) for quantity in _AMOUNTS)


def _request_rule(component: str, quantity: str, pick: Callable[[Spec], Component]) -> Rule:
    request, limit = f"self.requests.{quantity}", f"self.limits.{quantity}"
    # The API server judges the default of the whole as it is written, before those of its fields.
    given = " && ".join(f"has({each})" for each in ("self.requests", "self.limits", request, limit))

    def holds(_: str, spec: Spec) -> bool:
        wanted = pick(spec).resources
        asked, most = (getattr(part, quantity) for part in (wanted.requests, wanted.limits))
        return asked is None or most is None or _AMOUNTS[quantity](asked) <= _AMOUNTS[quantity](most)

    usual = " (512Mi when it is not set)" if quantity == "memory" else ""
    return Rule(
        path=("spec", component, "resources"),
        cel=f"!({given}) || quantity({request}).compareTo(quantity({limit})) <= 0",
        message=f"{component}.resources.requests.{quantity} must not be above limits.{quantity}{usual}",
        holds=holds,
    )


def _key_rule(place: str, field: str, pick: Callable[[Spec], Iterable[str]]) -> Rule:
    """``pick`` gives the keys of the map at ``field`` of ``place``, none when it is absent."""
    return Rule(
        path=("spec", *place.split(".")),
        cel=f"!has(self.{field}) || self.{field}.all({_CEL_KEYS})",
        message=f"{place}.{field} {_KEYS}",
        holds=lambda _, spec: all(map(_is_key, pick(spec))),
    )


def _label_rule(place: str, pick: Callable[[Spec], Iterable[str]]) -> Rule:
    """``pick`` as above, of labels that stand beside the operator's."""
    return Rule(
        path=("spec", *place.split(".")),
        cel=f"!has(self.labels) || self.labels.all({_CEL_OWN})",
        message=f"{place}.labels {_OWN}",
        holds=lambda _, spec: not any(map(_is_own, pick(spec))),
    )


def _template_rules(place: str, pick: Callable[[Spec], Sequence[Template]]) -> tuple[Rule, ...]:
    """``place``: path of the template below the specification; ``pick`` gives it, or nothing when it is absent."""

    def tolerations(judged: str, message: str, judge: Callable[[Toleration], bool]) -> Rule:
        return Rule(
            path=("spec", *place.split(".")),
            cel=f"!has(self.tolerations) || self.tolerations.all({judged})",
            message=f"{place}.tolerations {message}",
            holds=lambda _, spec: all(judge(each) for template in pick(spec) for each in template.tolerations),
        )

    def keys(of: Callable[[Template], Iterable[str]]) -> Callable[[Spec], Iterable[str]]:
        return lambda spec: [key for template in pick(spec) for key in of(template)]

    return (
        _label_rule(place, keys(lambda template: template.labels)),
        tolerations(
            "t, t.operator == 'Exists' ? !has(t.value) : has(t.key)",
            "needs key with Equal, and takes no value with Exists",
            _is_comparison,
        ),
        tolerations(
            "t, !has(t.tolerationSeconds) || (has(t.effect) && t.effect == 'NoExecute')",
            "takes tolerationSeconds only with effect NoExecute",
            _ends_only_what_has_an_end,
        ),
        _key_rule(place, "labels", keys(lambda template: template.labels)),
        _key_rule(place, "annotations", keys(lambda template: template.annotations)),
        _key_rule(place, "nodeSelector", keys(lambda template: template.node_selector)),
    )


def _is_own(label: str) -> bool:
    return label.startswith(OWN_LABELS)


def _is_comparison(toleration: Toleration) -> bool:
    return toleration.value is None if toleration.operator == "Exists" else toleration.key is not None


def _ends_only_what_has_an_end(toleration: Toleration) -> bool:
    return toleration.toleration_seconds is None or toleration.effect == "NoExecute"


def _is_key(text: str) -> bool:
    return forms.has_form(text, forms.LABEL_KEY) and len(text.rpartition("/")[0]) <= _LONGEST_PREFIX


def _monitoring_labels(spec: Spec) -> Iterable[str]:
    return spec.monitoring.labels if spec.monitoring else ()


def _peer_keys(spec: Spec) -> Iterable[str]:
    peers = spec.network_policy.allow_from if spec.network_policy else ()
    selectors = [each for peer in peers for each in (peer.namespace_selector, peer.pod_selector)]
    return [key for selector in selectors if selector is not None for key in selector.match_labels]


POD_RULES: Final[tuple[Rule, ...]] = (
    *_resource_rules("web", lambda spec: spec.web),
    *_resource_rules("jobs", lambda spec: spec.jobs),
    *_template_rules("web.template", lambda spec: [spec.web.template]),
    *_template_rules("jobs.template", lambda spec: [spec.jobs.template]),
    *_template_rules(
        "database.pooler.template", lambda spec: [spec.database.pooler.template] if spec.database.pooler else []
    ),
    *_template_rules(
        "database.embedded.template", lambda spec: [spec.database.embedded.template] if spec.database.embedded else []
    ),
    *_template_rules(
        "sessions.redis.embedded.template",
        lambda spec: (
            [spec.sessions.redis.embedded.template] if spec.sessions.redis and spec.sessions.redis.embedded else []
        ),
    ),
    _key_rule("serviceAccount", "annotations", lambda spec: spec.service_account.annotations),
    _label_rule("monitoring", _monitoring_labels),
    _key_rule("monitoring", "labels", _monitoring_labels),
    Rule(
        path=("spec", "networkPolicy"),
        cel="!has(self.allowFrom) || self.allowFrom.all(p, "
        + " && ".join(
            f"(!has(p.{each}) || !has(p.{each}.matchLabels) || p.{each}.matchLabels.all({_CEL_KEYS}))"
            for each in ("namespaceSelector", "podSelector")
        )
        + ")",
        message=f"networkPolicy.allowFrom in its labels {_KEYS}",
        holds=lambda _, spec: all(map(_is_key, _peer_keys(spec))),
    ),
)
