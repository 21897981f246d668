"""What the API server takes of a specification, it takes of the children as well: none is refused too late."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ccl_operator import names
from ccl_operator.api.rules import violations
from ccl_operator.api.v1alpha1 import SpecRefused, parse_spec
from tests.operator.api.conftest import Api
from tests.operator.api.test_children_accepted import EVERYTHING, path, walk
from tests.operator.monitoring_kinds import install
from tests.unit.operator.api.rule_cases import KEYS, changed

#: Of all sorts, good and bad: which are which is for the CRD to say.
TEXTS = st.sampled_from([*(text for pair in KEYS for text in pair), "", ".", "a..b", "a.b", "A", "a_b", "x" * 64, "é"])
CPUS = st.sampled_from(["0", "1m", "999999m", "0.001", "9999.999", "1", "0.5", "1.0", ".5", "1.2345"])
BYTES = st.sampled_from(["0", "1", "1.5", "0.001k", "64Mi", "512Mi", "1Gi", "1048576Ki", "999999Ti", "9" * 12 + "Mi"])
MAPS = st.dictionaries(TEXTS, TEXTS, max_size=3)
AMOUNTS = st.fixed_dictionaries({}, optional={"cpu": CPUS, "memory": BYTES})
TOLERATION = st.fixed_dictionaries(
    {},
    optional={
        "key": TEXTS,
        "operator": st.sampled_from(["Equal", "Exists"]),
        "value": TEXTS,
        "effect": st.sampled_from(["NoSchedule", "NoExecute"]),
        "tolerationSeconds": st.integers(0, 86_400),
    },
)
TEMPLATE = st.one_of(
    *(st.fixed_dictionaries({field: MAPS}) for field in ("labels", "annotations", "nodeSelector")),
    st.fixed_dictionaries({"tolerations": st.lists(TOLERATION, min_size=1, max_size=2)}),
    st.fixed_dictionaries({"priorityClassName": TEXTS}),
)
PEER = st.one_of(
    st.fixed_dictionaries({}, optional={"podSelector": st.fixed_dictionaries({"matchLabels": MAPS})}),
    st.fixed_dictionaries(
        {"ipBlock": st.fixed_dictionaries({"cidr": st.sampled_from(["::/0", "10.0.0.1/8", "1.1.1.1"])})}
    ),
)
#: Field → what is tried there.
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "image": st.sampled_from(
        ["a", "a:b@c", "A/b", "a//b", "localhost:5000/a_b:T", "a b", "a@sha256:" + "0" * 64, "-a"]
    ),
    "imagePullSecrets": st.lists(st.fixed_dictionaries({"name": TEXTS}), max_size=2, unique_by=str),
    "autoscaling": st.fixed_dictionaries({"max": st.integers(1, 100)}, optional={"min": st.integers(1, 100)}),
    **{
        f"{each}.resources": st.fixed_dictionaries({"requests": AMOUNTS, "limits": AMOUNTS}) for each in ("web", "jobs")
    },
    **{f"{each}.template": TEMPLATE for each in ("web", "jobs", "database.pooler", "database.embedded")},
    "sessions.redis.embedded.template": TEMPLATE,
    "serviceAccount.annotations": MAPS,
    "networkPolicy.allowFrom": st.lists(PEER, max_size=2),
    "http.host": TEXTS,
    "http.tlsSecretName": TEXTS,
    "http.ingressClassName": TEXTS,
    "database.embedded.storage": BYTES,
    "backup.destination.pvc.size": BYTES,
    "backup.schedule": st.sampled_from(["* * * * *", "60 * * * *", "@daily", "0 0 1 JAN sun"]),
    "backup.timeZone": st.sampled_from(["Etc/UTC", "America/Chicago", "Local", "Nowhere", "UTC"]),
    "migration.timeout": st.sampled_from(["0s", "10s", "1d", "1h1ms", "999999h"]),
}
CHANGES = st.lists(st.sampled_from(sorted(FIELDS)), min_size=1, max_size=2, unique=True).flatmap(
    lambda fields: st.fixed_dictionaries({field: FIELDS[field] for field in fields})
)


@pytest.fixture(scope="module", autouse=True)
def _kinds_of_the_prometheus_operator(api):
    install(api)


def is_accepted(spec: dict[str, Any]) -> bool:
    try:
        return violations("ccl", parse_spec({"spec": spec})) == ()
    except SpecRefused:
        return False


class Shown:
    """Children that the API server has been shown. The same is shown once."""

    def __init__(self, rest: Api) -> None:
        self._rest, self._seen = rest, set[str]()

    def refusals(self, spec: dict[str, Any]) -> list[str]:
        """Children of the specification that it does not take, with its words."""
        found = []
        query = f"?fieldManager={names.FIELD_MANAGER}&force=true&fieldValidation=Strict&dryRun=All"
        for (resource, name), manifest in walk(spec, images=())[1].items():
            text = json.dumps(manifest, sort_keys=True)
            if text not in self._seen:
                self._seen.add(text)
                target = path(resource, name) + query
                code, answer = self._rest.request("PATCH", target, manifest, "application/apply-patch+yaml")
                found += [] if code in {200, 201} else [f"{resource.kind} {name}: {answer['message']}"]
        return found


@pytest.fixture(scope="module")
def shown(rest: Api) -> Shown:
    return Shown(rest)


@settings(max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow])
@given(changes=CHANGES)
def test_children_of_what_is_taken_are_taken_and_lint_and_server_agree_on_what_that_is(
    rest: Api, shown: Shown, changes: dict[str, Any]
) -> None:
    spec = changed(EVERYTHING, changes)
    code, answer = rest.create("ccl", spec)
    if is_accepted(spec):
        assert code == 201, answer["message"]
        assert shown.refusals(spec) == []
    elif code == 201:
        # What no pattern can say: the operator's own refusal.
        assert any(field in {"backup.timeZone", "backup.schedule"} for field in changes), changes
