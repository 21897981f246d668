"""The embedded PostgreSQL and Redis."""

from ccl_operator import names
from ccl_operator.api.v1alpha1 import EmbeddedDatabase, EmbeddedRedis
from ccl_operator.manifests import embedded
from ccl_operator.manifests.meta import Target

TARGET = Target("ccl", "loans", "uid")
WANTED = EmbeddedDatabase(version=17, storage="1024Mi")


def test_postgres_takes_300_connections():
    (container,) = embedded.postgres(TARGET, WANTED, "postgres:17")["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["postgres", "-c", "max_connections=300"]


def test_the_volume_of_postgres_has_no_owner_and_says_which_version_wrote_it():
    (claim,) = embedded.postgres(TARGET, WANTED, "postgres:17")["spec"]["volumeClaimTemplates"]
    assert "ownerReferences" not in claim["metadata"]
    assert claim["metadata"]["labels"][names.POSTGRES_VERSION_LABEL] == "17"
    assert claim["spec"]["resources"]["requests"]["storage"] == "1Gi"
    assert f"data-{names.postgres('ccl')}-0" == names.postgres_volume("ccl")


def test_the_password_of_postgres_is_never_on_a_command_line():
    (container,) = embedded.postgres(TARGET, WANTED, "postgres:17")["spec"]["template"]["spec"]["containers"]
    password = next(each for each in container["env"] if each["name"] == "POSTGRES_PASSWORD")
    assert password["valueFrom"]["secretKeyRef"] == {"name": "ccl-postgres", "key": "password"}


def test_redis_answers_others_than_itself_and_writes_nothing():
    (container,) = embedded.redis(TARGET, EmbeddedRedis(), "valkey:8")["spec"]["template"]["spec"]["containers"]
    options = dict(zip(container["command"][1::2], container["command"][2::2], strict=True))
    assert options["--protected-mode"] == "no"
    assert options["--save"] == ""
    assert options["--appendonly"] == "no"


def test_urls_name_the_services_in_their_namespace():
    url = embedded.postgres_url(TARGET, username="ccl", password="p", database="ccl")
    assert url == "postgresql://ccl:p@ccl-postgres.loans.svc:5432/ccl"
    assert embedded.redis_url(TARGET) == "redis://ccl-redis.loans.svc:6379/0"
    assert embedded.service(TARGET, names.POSTGRES)["metadata"]["name"] == "ccl-postgres"
    assert embedded.service(TARGET, names.REDIS)["metadata"]["name"] == "ccl-redis"
