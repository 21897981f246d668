"""What makes a new revision, and what does not."""

import copy

import pytest

from ccl_operator.api.v1alpha1 import parse_spec
from ccl_operator.manifests.meta import Target
from ccl_operator.revision import controller_revision, next_number, render, revision_name, stored
from tests.unit.operator.api.rule_cases import changed
from tests.unit.operator.samples import SPEC

TARGET = Target("ccl", "loans", "uid")


def named(changes=None, digest="d"):
    return revision_name(parse_spec({"spec": changed(SPEC, changes or {})}), digest)


@pytest.mark.parametrize(
    "changes",
    [
        {"image": "other:2"},
        {"environment": "staging"},
        {"http.host": "other.example.com"},
        {"http.rateLimit": {"maxRequests": 5}},
        {"http.trustProxy": {"hops": 1}},
        {"web.resources": {"requests": {"cpu": "2"}}},
        {"jobs.resources": {"requests": {"cpu": "2"}}},
        {"web.extraEnv": [{"name": "A", "value": "b"}]},
        {"jobs.extraEnv": [{"name": "A", "value": "b"}]},
        {"mail.allowlist": ["@example.com"]},
        {"secrets.mailgun.domain": "other.example.com"},
        {"secrets.openai.model": "m"},
        {"secrets.jwt": {"secretKeyRef": {"name": "own", "key": "jwt"}}},
        {"database.pool": {"size": 7}},
        {"http.bodyLimit": "5Mi"},
        {"monitoring": {"otlpEndpoint": "http://otel:4318"}},
        {"imagePullSecrets": [{"name": "registry"}]},
        {"web.template": {"priorityClassName": "high"}},
        {"jobs.template": {"labels": {"team": "loans"}}},
        {"web.probes": {"liveness": {"periodSeconds": 20}}},
    ],
    ids=str,
)
def test_what_decides_behaviour_makes_a_new_revision(changes):
    assert named(changes) != named()


@pytest.mark.parametrize(
    "changes",
    [
        {"replicas": 5},
        {"jobs.replicas": 3},
        {"autoscaling": {"max": 5}},
        {"http.tlsSecretName": "tls", "http.ingressClassName": "nginx"},
        {"serviceAccount": {"annotations": {"a": "b"}}},
        {"networkPolicy": {}},
        {"monitoring": {}},
        {"deletionPolicy": "Delete"},
        {"web.template": {"labels": {}, "tolerations": []}, "web.probes": {"startup": {}}},
        {"paused": True},
        {"promotion": {"deadline": "1m"}},
        {"migration": {"timeout": "1m"}},
        {"backup.schedule": "0 3 * * *"},
        {"secrets.mailgun.secretRef": "the-same-values-elsewhere"},
        {"http.rateLimit": {"maxRequests": 100, "windowSeconds": 60}},
        {"secrets.jwt": {"generate": True}},
        {"web.resources": {"requests": {"cpu": "0.1", "memory": "0.25Gi"}, "limits": {"memory": "512Mi"}}},
    ],
    ids=str,
)
def test_what_does_not_decide_behaviour_or_only_says_the_default_makes_none(changes):
    assert named(changes) == named()


def test_other_values_of_the_referenced_secrets_make_a_new_revision():
    assert named(digest="e") != named()


def test_a_name_is_ten_hex_characters_that_do_not_change_between_versions_of_the_operator():
    # A changed value here means that every upgrade of the operator replaces every pod: find out why.
    assert named() == "b2180fa56d"


def test_a_stored_revision_is_read_back_as_it_was():
    spec = parse_spec({"spec": copy.deepcopy(SPEC)})
    revision = render(TARGET, spec, "0123456789", deployment_id="id")
    manifest = controller_revision(TARGET, revision, number=3)
    assert stored([manifest]) == {"0123456789": revision}
    assert next_number([manifest]) == 4
    assert next_number([]) == 1


def test_a_revision_written_in_another_form_is_left_out():
    spec = parse_spec({"spec": copy.deepcopy(SPEC)})
    manifest = controller_revision(TARGET, render(TARGET, spec, "0123456789", deployment_id="id"), number=1)
    assert stored([{**manifest, "data": {**manifest["data"], "v": 2}}]) == {}


@pytest.mark.parametrize("rotation", [{"rotate": "today"}, {"rotateAfter": "720h"}], ids=str)
def test_the_rotation_of_keys_makes_no_new_revision_where_there_are_no_accounts_either(rotation):
    plain = {"environment": "staging", "secrets": {}}
    assert named(plain | {"secrets": rotation}) == named(plain)
