"""Keys and referenced values: generation, adoption, refusal."""

import base64
import copy
import json

import pytest

from ccl_contract.keys import parse_key_file
from ccl_operator import names, secrets
from ccl_operator.api.v1alpha1 import parse_spec
from ccl_operator.environment import KEY_FILES
from tests.unit.operator.samples import SPEC, START, secret

ENTROPY = bytes(range(256))
TOKEN = "t" * 40


def spec_with(**parts):
    spec = copy.deepcopy(SPEC)
    spec["secrets"] |= parts
    return parse_spec({"spec": spec})


def reference(key="value", name="own"):
    return {"secretKeyRef": {"name": name, "key": key}}


def made(spec=None):
    return secrets.keys_data({}, spec or spec_with(), entropy=ENTROPY, now=START)


def test_generated_keys_are_three_different_key_files_of_256_bits():
    data = made()
    files = [parse_key_file(data[name]) for name in KEY_FILES.values()]
    values = {file.current.secret.get_secret_value() for file in files}
    assert len(values) == 3
    assert {len(base64.urlsafe_b64decode(value + "=")) for value in values} == {32}
    token = secrets.monitor_token({}, entropy=ENTROPY)
    assert secrets.weak({}, data, token, spec_with()) == ()


def test_other_entropy_makes_other_keys_in_every_entry():
    other = secrets.keys_data({}, spec_with(), entropy=bytes(reversed(ENTROPY)), now=START)
    assert all(made()[key] != value for key, value in other.items())


def test_no_byte_of_entropy_serves_two_purposes():
    data = made()
    account = secrets.postgres_data({}, entropy=ENTROPY)
    token = secrets.monitor_token({}, entropy=ENTROPY)
    for position in range(secrets.ENTROPY_BYTES):
        changed = bytes([*ENTROPY[:position], ENTROPY[position] ^ 0x40, *ENTROPY[position + 1 :]])
        again = secrets.keys_data({}, spec_with(), entropy=changed, now=START)
        moved = [key for key in data if data[key] != again[key]]
        moved += ["password"] * (secrets.postgres_data({}, entropy=changed) != account)
        moved += ["token"] * (secrets.monitor_token({}, entropy=changed) != token)
        assert len(moved) <= 1, position


def test_no_key_is_made_for_a_referenced_one():
    assert KEY_FILES["JWT_SECRET"] not in made(spec_with(jwt=reference()))


def test_a_key_that_is_there_is_kept_and_only_the_missing_one_is_made():
    present = {key: value for key, value in made().items() if key != KEY_FILES["JWT_SECRET"]}
    other = secrets.keys_data(present, spec_with(), entropy=bytes(256), now=START)
    assert {key: other[key] for key in present} == present
    assert parse_key_file(other[KEY_FILES["JWT_SECRET"]]).current


def test_a_key_file_somebody_broke_is_named_and_not_overwritten():
    present = {**made(), KEY_FILES["JWT_SECRET"]: "{broken"}
    data = secrets.keys_data(present, spec_with(), entropy=ENTROPY, now=START)
    assert data == present
    assert secrets.weak({}, data, TOKEN, spec_with()) == ("JWT_SECRET: is no key file with exactly one current key",)


@pytest.mark.parametrize("variable", KEY_FILES)
@pytest.mark.parametrize("state", ["next", "previous"])
@pytest.mark.parametrize("value", ["ccl-internal-2025", "too-short"])
def test_a_weak_key_of_any_state_that_somebody_put_into_a_file_is_refused(variable, state, value):
    data = made()
    document = json.loads(data[KEY_FILES[variable]])
    document["keys"].append({"id": "mine", "state": state, "secret": value})
    (problem,) = secrets.weak({}, {**data, KEY_FILES[variable]: json.dumps(document)}, TOKEN, spec_with())
    assert problem.startswith(f"{variable}: holds a key ({state}) that is ")
    assert value not in problem


def test_a_referenced_value_may_be_a_key_file_whose_keys_are_judged_one_by_one():
    document = json.loads(made()[KEY_FILES["INTERNAL_API_KEY"]])
    document["keys"].append({"id": "mine", "state": "previous", "secret": "changeme"})
    spec = spec_with(internalApiKey=reference())
    (problem,) = secrets.weak({"INTERNAL_API_KEY": json.dumps(document)}, made(spec), TOKEN, spec)
    assert problem.startswith("INTERNAL_API_KEY: holds a key (previous) that is a published default")


@pytest.mark.parametrize("token", ["short", "changeme"])
def test_a_weak_monitoring_token_is_refused(token):
    (problem,) = secrets.weak({}, made(), token, spec_with())
    assert problem.startswith("MONITOR_KEY_FILE: is ")


@pytest.mark.parametrize("token", ["t" * 40 + "\r\nX-Role: root", "t " * 40, "t\0" * 40])
def test_a_monitoring_token_that_no_header_can_carry_keeps_the_serving_revision_and_is_named(promoted, token):
    first = promoted.status["stable"]
    promoted.objects[names.SECRET, "ccl-monitor"] |= {"data": secret(token=token)["data"]}
    promoted.change(image="localhost/ccl/ccl-service:2")
    promoted.run()
    assert promoted.condition("SecretsValid") == ("False", "SecretsInvalid")
    assert "MONITOR_KEY_FILE: is no token" in promoted.condition_message("SecretsValid")
    assert token not in promoted.condition_message("SecretsValid")
    assert promoted.status["stable"] == first
    del promoted.objects[names.SECRET, "ccl-monitor"]
    promoted.run()
    assert promoted.condition("Promoted") == ("True", "Promoted")


STRONG = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("ccl-internal-2025", "is a published default"),
        ("too-short", "is shorter than 32 bytes"),
    ],
)
def test_a_weak_referenced_key_is_refused_by_its_variable_and_never_quoted(value, why):
    spec = spec_with(internalApiKey=reference())
    found = secrets.weak({"INTERNAL_API_KEY": value}, made(spec), TOKEN, spec)
    assert len(found) == 1
    assert found[0].startswith("INTERNAL_API_KEY: ")
    assert why in found[0]
    assert value not in found[0]


def test_the_same_value_for_tokens_and_sessions_is_refused():
    spec = spec_with(jwt=reference(), session=reference())
    values = secrets.collect(spec, {"own": secret(value=STRONG)}, {}).values
    assert secrets.weak(values, made(spec), TOKEN, spec) == ("SESSION_SECRET: equals JWT_SECRET; the two must differ",)


def test_a_referenced_key_that_equals_a_generated_one_is_refused():
    spec = spec_with(session=reference())
    data = made(spec)
    session = parse_key_file(data[KEY_FILES["JWT_SECRET"]]).current.secret.get_secret_value()
    (problem,) = secrets.weak({"SESSION_SECRET": session}, data, TOKEN, spec)
    assert problem.startswith("SESSION_SECRET: equals JWT_SECRET")


def test_a_missing_secret_and_a_missing_key_are_told_apart():
    spec = spec_with(jwt=reference(), mailgun={"secretRef": "mailgun", "domain": "mg.example.com"}, openai=None)
    found = secrets.collect(spec, {"own": secret(other="x"), "mailgun": None}, {})
    assert found.problems == (
        "JWT_SECRET: Secret own has no text in key value",
        "MAILGUN_API_KEY: Secret mailgun does not exist",
    )


def test_a_secret_that_was_not_read_yet_is_no_problem_but_unread():
    found = secrets.collect(spec_with(), {"openai": secret(OPENAI_API_KEY="sk")}, {})
    assert found.problems == ()
    assert found.unread == ("mailgun",)


def test_an_address_of_another_protocol_is_refused():
    found = secrets.collect(spec_with(mailgun=None, openai=None), {}, {"DATABASE_URL": "mysql://db"})
    assert found.problems == ("DATABASE_URL: must be a URL that starts with postgresql:// or postgres://",)


DSN = "https://0123456789abcdef@sentry.example.com/42"


def test_a_dsn_is_copied_from_its_secret():
    spec = spec_with(sentry={"secretRef": "sentry"}, mailgun=None, openai=None)
    found = secrets.collect(spec, {"sentry": secret(SENTRY_DSN=DSN)}, {})
    assert found == secrets.External(values={"SENTRY_DSN": DSN})


@pytest.mark.parametrize("value", ["https://sentry.example.com/42", "ftp://hunter2@sentry.example.com/42"])
def test_a_text_that_is_no_dsn_is_refused_and_never_quoted(value):
    spec = spec_with(sentry={"secretRef": "sentry"}, mailgun=None, openai=None)
    found = secrets.collect(spec, {"sentry": secret(SENTRY_DSN=value)}, {})
    assert found.problems == ("SENTRY_DSN: must be a DSN (https://key@host/project)",)


def test_a_redis_url_of_a_scheme_that_the_service_does_not_read_is_refused():
    found = secrets.collect(spec_with(mailgun=None, openai=None), {}, {"REDIS_URL": "valkey://redis"})
    assert found.problems == ("REDIS_URL: must be a URL that starts with redis:// or rediss://",)


def test_a_trailing_line_break_is_not_part_of_a_value():
    found = secrets.collect(
        spec_with(jwt=reference(), mailgun=None, openai=None), {"own": secret(value=STRONG + "\n")}, {}
    )
    assert found.values["JWT_SECRET"] == STRONG


def test_a_digest_depends_on_every_value_and_on_the_objects_own_key():
    base = secrets.digest({"A": "1", "B": "2"}, "key")
    assert secrets.digest({"B": "2", "A": "1"}, "key") == base
    assert secrets.digest({"A": "1", "B": "3"}, "key") != base
    assert secrets.digest({"A": "1", "B": "2"}, "other") != base


def own_key(value):
    return {**SPEC["secrets"], "internalApiKey": reference()}, secret(value=value)


def test_a_published_default_key_keeps_any_pod_from_being_made(cluster):
    cluster.spec["secrets"], cluster.referenced["own"] = own_key("ccl-internal-2025")
    cluster.run()
    for kind in ("SecretsValid", "Promoted"):
        assert cluster.condition(kind) == ("False", "SecretsInvalid")
    assert cluster.condition("Stalled") == ("True", "SecretsInvalid")
    assert "INTERNAL_API_KEY" in cluster.condition_message("SecretsValid")
    for kind in (names.DEPLOYMENT, names.STATEFUL_SET, names.JOB, names.POD):
        assert cluster.named(kind) == []


def test_a_published_default_key_never_reaches_the_serving_revision(promoted):
    first = promoted.status["stable"]
    before = {key: each["metadata"] for key, each in promoted.objects.items() if first["revision"] in key[1]}
    wanted, promoted.referenced["own"] = own_key("ccl-internal-2025")
    promoted.served.clear()
    promoted.change(secrets=wanted)
    promoted.run()
    assert promoted.condition("SecretsValid") == ("False", "SecretsInvalid")
    assert promoted.condition("Ready") == ("True", "Serving")
    assert promoted.status["stable"] == first
    assert set(promoted.served) == {first["revision"]}
    assert {key: promoted.objects[key]["metadata"] for key in before} == before


def test_a_corrected_secret_ends_the_refusal_without_a_change_of_the_spec(promoted):
    wanted, promoted.referenced["own"] = own_key("ccl-internal-2025")
    promoted.change(secrets=wanted)
    promoted.run()
    promoted.referenced["own"] = secret(value=STRONG)
    promoted.run()
    assert promoted.condition("SecretsValid") == ("True", "SecretsValid")
    assert promoted.condition("Promoted") == ("True", "Promoted")


def test_a_changed_value_of_a_referenced_secret_makes_a_new_revision(promoted):
    first = promoted.status["stable"]["revision"]
    promoted.referenced["openai"] = secret(OPENAI_API_KEY="sk-of-openai-rotated")
    promoted.run()
    second = promoted.status["stable"]["revision"]
    assert second != first
    copied = secrets.decoded(promoted.get(names.SECRET, f"ccl-ext-{second}"))
    assert copied["OPENAI_API_KEY"] == "sk-of-openai-rotated"


def test_secrets_that_are_not_read_yet_move_nothing(promoted):
    promoted.referenced.clear()
    promoted.change(image="localhost/ccl/ccl-service:2")
    plan = promoted.reconcile()
    assert plan.applies == ()
    assert plan.deletes == ()
    assert promoted.condition("SecretsValid")[0] == "True"


def test_a_deleted_object_leaves_data_and_keys_and_a_new_one_takes_them_up(promoted):
    kept = {key: secrets.decoded(each) for key, each in promoted.objects.items() if key[0] == names.SECRET}
    revision = promoted.status["stable"]["revision"]
    promoted.delete_owner_and_recreate()
    assert promoted.named(names.SECRET) == ["ccl-keys", "ccl-postgres"]
    assert promoted.named(names.VOLUME_CLAIM) == ["ccl-backups", "data-ccl-postgres-0"]
    promoted.run()
    assert promoted.condition("Promoted") == ("True", "Promoted")
    for name in ("ccl-keys", "ccl-postgres"):
        assert secrets.decoded(promoted.get(names.SECRET, name)) == kept[names.SECRET, name]
    assert promoted.status["stable"]["revision"] == revision, "same spec, same credentials, same revision"


def test_the_password_of_a_deleted_database_secret_is_recovered_from_the_serving_revision(promoted):
    before = secrets.decoded(promoted.objects.pop((names.SECRET, "ccl-postgres")))
    revision = promoted.status["stable"]["revision"]
    promoted.run()
    assert secrets.decoded(promoted.get(names.SECRET, "ccl-postgres")) == before
    assert promoted.status["stable"]["revision"] == revision


def test_no_secret_value_stands_in_status_events_or_controller_revisions(promoted):
    values = {
        value
        for (kind, _), each in promoted.objects.items()
        if kind == names.SECRET
        for key, value in secrets.decoded(each).items()
        if key not in {"username", "database", "deployment-id"}
    } - {"redis://ccl-redis.loans.svc:6379/0"}
    told = json.dumps(promoted.status) + str(promoted.events)
    told += json.dumps([each for (kind, _), each in promoted.objects.items() if kind != names.SECRET])
    assert len(values) >= 9
    assert [value for value in values if value in told] == []
