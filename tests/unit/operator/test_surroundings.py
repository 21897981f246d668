"""What stands around the revisions: made when asked for, gone when not, and of no revision."""

import base64

import pytest

from ccl_operator import names
from ccl_operator.manifests import monitoring
from ccl_operator.manifests.meta import Target
from tests.unit.operator.samples import SPEC, secret
from tests.unit.operator.simulated_cluster import SimulatedCluster

INGRESS = {**SPEC["http"], "ingressClassName": "nginx", "tlsSecretName": "tls"}
ASKED = [
    ("autoscaling", {"max": 4}, names.AUTOSCALER, ["ccl"]),
    ("http", INGRESS, names.INGRESS, ["ccl", "ccl-import"]),
    ("monitoring", {"rules": False}, names.POD_MONITOR, ["ccl"]),
    ("monitoring", {"serviceMonitor": False}, names.PROMETHEUS_RULE, ["ccl"]),
]


@pytest.mark.parametrize(("field", "value", "resource", "expected"), ASKED)
def test_it_is_there_while_it_is_asked_for_and_makes_no_revision(promoted, field, value, resource, expected):
    promoted.served_kinds = frozenset(names.OPTIONAL)
    revision = promoted.status["stable"]["revision"]
    promoted.change(**{field: value})
    promoted.run()
    assert promoted.named(resource) == expected
    promoted.change(**{field: SPEC.get(field)})
    promoted.run()
    assert promoted.named(resource) == []
    assert promoted.status["stable"]["revision"] == revision


def test_a_policy_for_every_component_while_they_are_enabled(promoted):
    promoted.change(networkPolicy={})
    promoted.run()
    assert promoted.named(names.NETWORK_POLICY) == sorted(f"ccl-{component}" for component in names.COMPONENTS)
    promoted.change(networkPolicy={"enabled": False})
    promoted.run()
    assert promoted.named(names.NETWORK_POLICY) == []


def test_policies_stay_while_a_refused_secret_hides_which_ports_they_open(promoted):
    promoted.change(networkPolicy={})
    promoted.run()
    promoted.referenced["mailgun"] = secret()
    promoted.run()
    assert promoted.condition("SecretsValid") == ("False", "SecretsInvalid")
    assert len(promoted.named(names.NETWORK_POLICY)) == len(names.COMPONENTS)


def test_monitoring_waits_for_kinds_that_the_cluster_does_not_have(promoted):
    promoted.change(monitoring={})
    promoted.run()
    assert promoted.named(names.POD_MONITOR) == []
    promoted.served_kinds = frozenset(names.OPTIONAL)
    promoted.run()
    assert promoted.named(names.POD_MONITOR) == ["ccl"]
    assert promoted.named(names.PROMETHEUS_RULE) == ["ccl"]


def test_a_pooler_is_watched_as_long_as_there_is_one(promoted):
    promoted.served_kinds = frozenset(names.OPTIONAL)
    promoted.change(monitoring={}, database=promoted.spec["database"] | {"pooler": {"poolSize": 5}})
    promoted.run()
    monitor = promoted.get(names.POD_MONITOR, "ccl-pgbouncer")["spec"]
    pods = promoted.get(names.DEPLOYMENT, "ccl-pgbouncer")["spec"]["template"]
    assert chosen(monitor["selector"], pods["metadata"]["labels"])
    (endpoint,) = monitor["podMetricsEndpoints"]
    assert endpoint["port"] in {port["name"] for each in pods["spec"]["containers"] for port in each["ports"]}
    assert "app.kubernetes.io/component" in monitor["podTargetLabels"]
    promoted.change(database=SPEC["database"])
    promoted.run()
    assert promoted.named(names.POD_MONITOR) == ["ccl"]


def test_what_a_prometheus_reads_carries_the_labels_that_it_selects_by(promoted):
    promoted.served_kinds = frozenset(names.OPTIONAL)
    database = promoted.spec["database"] | {"pooler": {"poolSize": 5}}
    promoted.change(monitoring={"labels": {"release": "prometheus"}}, database=database)
    promoted.run()
    made = [(names.POD_MONITOR, "ccl"), (names.POD_MONITOR, "ccl-pgbouncer"), (names.PROMETHEUS_RULE, "ccl")]
    for resource, name in made:
        wanted = {"release": "prometheus", names.INSTANCE_LABEL: "ccl"}
        assert wanted.items() <= promoted.get(resource, name)["metadata"]["labels"].items()


def chosen(selector, labels):
    (expression,) = selector["matchExpressions"]
    return selector["matchLabels"].items() <= labels.items() and labels[expression["key"]] in expression["values"]


def test_the_alerts_speak_of_this_object_alone(promoted):
    promoted.served_kinds = frozenset(names.OPTIONAL)
    promoted.change(monitoring={})
    promoted.run()
    rules = str(promoted.get(names.PROMETHEUS_RULE, "ccl")["spec"])
    assert "__NAME__" not in rules
    assert "__NAMESPACE__" not in rules
    assert 'namespace="loans",app_kubernetes_io_instance="ccl"' in rules


@pytest.mark.parametrize(
    ("where", "wanted"),
    [
        ("", ("runbook", "docs/runbooks/CclHighErrorRate.md")),
        ("https://git.example.com/runbooks", ("runbook_url", "https://git.example.com/runbooks/CclHighErrorRate.md")),
    ],
)
def test_an_alert_leads_to_its_runbook_as_far_as_it_is_known_where_they_are(where, wanted):
    built = monitoring.rules(Target("ccl", "loans", "uid"), where, {})
    alerts = {rule["alert"]: rule["annotations"] for group in built["spec"]["groups"] for rule in group["rules"]}
    assert wanted in alerts["CclHighErrorRate"].items()
    assert len({"runbook", "runbook_url"} & alerts["CclHighErrorRate"].keys()) == 1


def test_the_autoscaler_scales_this_object_and_finds_its_pods_by_the_status(promoted):
    promoted.change(autoscaling={"min": 2, "max": 4, "targetCPUPercent": 50})
    promoted.run()
    spec = promoted.get(names.AUTOSCALER, "ccl")["spec"]
    assert spec["scaleTargetRef"]["kind"] == "CclDeployment"
    assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 4)
    selector = dict(part.split("=") for part in promoted.status["selector"].split(","))
    revision = promoted.status["stable"]["revision"]
    assert selector == names.selector("ccl", names.WEB, revision)


def test_before_the_first_promotion_nothing_is_scaled_or_kept_up(cluster):
    cluster.spec["autoscaling"] = {"max": 4}
    cluster.answers[SPEC["image"]] = lambda _: None
    cluster.run()
    assert cluster.named(names.AUTOSCALER) == []
    assert cluster.named(names.CRON_JOB) == []


def test_the_upkeep_runs_the_stable_image_and_reads_what_belongs_to_no_revision(promoted):
    job = promoted.get(names.CRON_JOB, "ccl-maintain")["spec"]
    assert job["concurrencyPolicy"] == "Forbid"
    (container,) = job["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == SPEC["image"]
    assert container["command"][:2] == ["ccl-service", "maintain"]
    assert {each["name"] for each in container["env"]} == {"DATABASE_URL", "JWT_SECRET_FILE"}
    promoted.change(image="localhost/ccl/ccl-service:2")
    promoted.run()
    template = promoted.get(names.CRON_JOB, "ccl-maintain")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert template["containers"][0]["image"] == "localhost/ccl/ccl-service:2"


def test_a_referenced_jwt_key_reaches_the_upkeep_by_its_own_secret(cluster):
    value = "k" * 40 + "-of-the-token"
    cluster.spec["secrets"] = {**SPEC["secrets"], "jwt": {"secretKeyRef": {"name": "own", "key": "jwt"}}}
    cluster.referenced["own"] = secret(jwt=value)
    cluster.run()
    data = cluster.get(names.SECRET, "ccl-direct")["data"]
    assert base64.b64decode(data["JWT_SECRET"]).decode() == value
    template = cluster.get(names.CRON_JOB, "ccl-maintain")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    source = template["containers"][0]["env"][1]
    assert source == {"name": "JWT_SECRET", "valueFrom": {"secretKeyRef": {"name": "ccl-direct", "key": "JWT_SECRET"}}}


def test_the_direct_url_is_what_jobs_read_and_replicas_reach_the_pods(cluster):
    selector = {name: {"secretKeyRef": {"name": "db", "key": name}} for name in ("url", "direct", "replicas")}
    cluster.spec["database"] = {
        "urlFrom": selector["url"],
        "directUrlFrom": selector["direct"],
        "replicaUrlsFrom": selector["replicas"],
    }
    urls = {name: f"postgresql://ccl:Pa55-word@{name}.example.com:5433/ccl" for name in selector}
    urls["replicas"] += ",postgresql://ccl:Pa55-word@more.example.com/ccl"
    cluster.referenced["db"] = secret(**urls)
    cluster.run()
    revision = cluster.status["stable"]["revision"]
    copy = cluster.get(names.SECRET, names.ext("ccl", revision))["data"]
    assert base64.b64decode(copy["DATABASE_REPLICA_URLS"]).decode() == urls["replicas"]
    direct = cluster.get(names.SECRET, "ccl-direct")["data"]["DATABASE_URL"]
    assert base64.b64decode(direct).decode() == urls["direct"]


def test_a_replica_url_of_another_kind_is_refused_without_its_value(cluster):
    source = {"secretKeyRef": {"name": "db", "key": "url"}}
    cluster.spec["database"] = {"urlFrom": source, "replicaUrlsFrom": {"secretKeyRef": {"name": "db", "key": "r"}}}
    good = "postgresql://ccl:Pa55-word@db.example.com/ccl"
    cluster.referenced["db"] = secret(url=good, r=f"{good},mysql://ccl:hunter2@x/ccl")
    cluster.run()
    assert cluster.condition("SecretsValid") == ("False", "SecretsInvalid")
    assert "DATABASE_REPLICA_URLS" in cluster.condition_message("SecretsValid")
    assert "hunter2" not in str(cluster.status)


def test_under_the_policy_delete_data_and_keys_belong_to_the_object_and_under_retain_not():
    cluster = SimulatedCluster()
    cluster.spec["deletionPolicy"] = "Delete"
    cluster.run()
    kept = [(names.SECRET, "ccl-keys"), (names.SECRET, "ccl-postgres"), (names.VOLUME_CLAIM, "ccl-backups")]
    assert all(cluster.get(*each)["metadata"]["ownerReferences"] for each in kept)
    policy = cluster.get(names.STATEFUL_SET, "ccl-postgres")["spec"]["persistentVolumeClaimRetentionPolicy"]
    assert policy == {"whenDeleted": "Delete", "whenScaled": "Retain"}
    cluster.change(deletionPolicy="Retain")
    applied = {
        (each.resource, each.manifest["metadata"]["name"]): each.manifest for each in cluster.reconcile().applies
    }
    assert not any("ownerReferences" in applied[each]["metadata"] for each in kept)


def test_more_jobs_pods_work_only_for_the_revision_with_the_traffic(promoted):
    promoted.change(jobs={"replicas": 3})
    promoted.run()
    assert promoted.replicas(names.jobs("ccl", promoted.status["stable"]["revision"])) == 3


def test_backups_that_are_taken_up_again_do_not_pretend_to_have_more_room(promoted):
    promoted.change(backup=None)
    promoted.run()
    promoted.change(backup={**SPEC["backup"], "destination": {"pvc": {"size": "2Gi"}}})
    promoted.run()
    assert promoted.condition("Stalled") == ("True", "InvalidSpec")
    assert promoted.condition_message("Stalled") == "backup.destination.pvc.size: the kept volume ccl-backups has 1Gi"
    promoted.change(backup={**SPEC["backup"], "destination": {"pvc": {"size": "512Mi"}}})
    promoted.run()
    assert promoted.status["phase"] == "Ready"
    claim = promoted.get(names.VOLUME_CLAIM, "ccl-backups")["spec"]
    assert claim["resources"]["requests"]["storage"] == "1Gi"
