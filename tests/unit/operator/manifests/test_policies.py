"""Which ways are open; everything else is closed."""

from ccl_operator import names
from ccl_operator.api.workload import NetworkPolicy
from ccl_operator.manifests.meta import Target
from ccl_operator.manifests.policies import Outside, policies

TARGET = Target("ccl", "loans", "uid")
OWN = {"podSelector": {"matchLabels": {names.INSTANCE_LABEL: "ccl"}}}


def built(*environments, wanted=None, operator_namespace="ccl-system"):
    outside = Outside.of(TARGET, environments or ({},))
    wanted = NetworkPolicy.model_validate(wanted or {})
    found = policies(TARGET, wanted, outside, operator_namespace=operator_namespace)
    return {each["metadata"]["labels"][names.COMPONENT_LABEL]: each["spec"] for each in found}


def ports(rules):
    return [[port["port"] for port in rule["ports"]] for rule in rules]


def test_every_component_is_closed_in_both_directions_first():
    assert set(built()) == set(names.COMPONENTS)
    assert all(each["policyTypes"] == ["Ingress", "Egress"] for each in built().values())


def test_nobody_connects_to_jobs_that_end():
    assert all("ingress" not in built()[name] for name in (names.MIGRATE, names.MAINTAIN, names.BACKUP))


def test_the_data_is_reached_from_the_objects_own_pods_only():
    for name, port in ((names.POSTGRES, 5432), (names.REDIS, 6379)):
        assert built()[name]["ingress"] == [{"from": [OWN], "ports": [{"port": port, "protocol": "TCP"}]}]
        assert "egress" not in built()[name]


def test_web_and_jobs_are_reached_from_the_namespace_the_operator_and_who_is_allowed():
    (rule,) = built(wanted={"allowFrom": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]})[names.WEB]["ingress"]
    assert rule["from"] == [
        {"podSelector": {}},
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ccl-system"}}},
        {"ipBlock": {"cidr": "10.0.0.0/8"}},
    ]
    assert rule["ports"] == [{"port": 5000, "protocol": "TCP"}]


def test_the_ingress_controller_and_monitoring_are_allowed_unless_somebody_else_is_named():
    (rule,) = built(operator_namespace="")[names.JOBS]["ingress"]
    labels = [each["namespaceSelector"]["matchLabels"] for each in rule["from"][1:]]
    assert labels == [{"kubernetes.io/metadata.name": name} for name in ("ingress-nginx", "monitoring")]


def test_the_service_reaches_names_its_data_and_the_providers():
    assert ports(built()[names.WEB]["egress"]) == [[53, 53], [5432, 6379, 6432], [443]]
    fakes = {"MAILGUN_BASE_URL": "http://fake:8080/v3", "OPENAI_BASE_URL": "http://fake-openai.loans"}
    assert ports(built(fakes)[names.JOBS]["egress"])[-1] == [80, 443, 8080]


def test_spans_and_errors_reach_the_ports_of_their_addresses():
    opened = built(
        {
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://otel:4318",
            "SENTRY_DSN": "https://key@sentry.example.com:9000/1",
        }
    )
    assert ports(opened[names.WEB]["egress"])[-1] == [443, 4318, 9000]


def test_a_database_elsewhere_is_reached_on_the_ports_of_its_urls():
    opened = built(
        {
            "DATABASE_URL": "postgresql://u:p@pooler.example.com:6543/ccl",
            "DATABASE_DIRECT_URL": "postgresql://u:p@a.example.com:5433,b.example.com:5435/ccl",
            "DATABASE_REPLICA_URLS": "postgresql://u:p@[2001:db8::1]/ccl, postgresql://u:p@[2001:db8::2]:5434/ccl",
        }
    )
    assert [5432, 5433, 5434, 5435, 6543] in ports(opened[names.MIGRATE]["egress"])
    assert [5432, 5433, 5434, 5435, 6543] in ports(opened[names.PGBOUNCER]["egress"])


def test_the_objects_own_servers_open_nothing_to_the_outside():
    inside = {
        "DATABASE_URL": "postgresql://u:p@ccl-pgbouncer.loans.svc:6432/d",
        "DATABASE_DIRECT_URL": "postgresql://u:p@ccl-postgres.loans.svc:5432/d",
        "REDIS_URL": "redis://ccl-redis.loans.svc:6379/0",
    }
    assert built(inside) == built()


def test_ways_of_all_revisions_are_open_at_once():
    old, new = ({"DATABASE_URL": f"postgresql://u:p@h:{port}/d"} for port in (5432, 6543))
    assert [5432, 6543] in ports(built(old, new)[names.WEB]["egress"])


def test_a_text_that_is_no_url_opens_nothing():
    assert built({"SENTRY_DSN": "hunter2", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://h:99999"}) == built()
