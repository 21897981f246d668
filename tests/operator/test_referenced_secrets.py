"""Secrets that a specification names: read, refused by variable, and noticed when they change."""

import base64

from ccl_operator import names
from tests.operator.conftest import SPEC, Place
from tests.operator.operator_process import until

DEFAULT_KEY = "your-super-secret-jwt-key-change-in-production"


def _secret(value: str, *, watched: bool) -> dict[str, object]:
    labels = {names.WATCH_LABEL: "true"} if watched else {}
    data = {"key": base64.b64encode(value.encode()).decode()}
    return {"metadata": {"name": "jwt", "labels": labels}, "data": data}


def _spec_with_jwt_from_secret() -> dict[str, object]:
    return SPEC["secrets"] | {"jwt": {"secretKeyRef": {"name": "jwt", "key": "key"}}}


def test_a_watched_secret_that_becomes_good_is_taken_at_once(place: Place) -> None:
    place.api.create(names.SECRET, place.namespace, _secret("short", watched=True))
    place.start_operator()
    place.create(secrets=_spec_with_jwt_from_secret())
    until("the key is refused", lambda: place.condition("SecretsValid").get("status") == "False")
    assert "JWT_SECRET" in place.condition("SecretsValid")["message"]
    place.api.patch(names.SECRET, place.namespace, "jwt", {"data": _secret("x1Y2" * 16, watched=True)["data"]})
    until("the key is taken", lambda: place.is_true("SecretsValid"), timeout=20)


def test_a_missing_secret_is_taken_when_the_specification_changes(place: Place) -> None:
    place.start_operator()
    place.create(secrets=_spec_with_jwt_from_secret())
    until("the key is refused", lambda: place.condition("SecretsValid").get("status") == "False")
    place.api.create(names.SECRET, place.namespace, _secret("x1Y2" * 16, watched=False))
    place.api.patch(names.OWNER, place.namespace, "ccl", {"spec": {"replicas": 1}})
    until("the key is taken", lambda: place.is_true("SecretsValid"), timeout=20)


def test_no_value_of_a_secret_is_logged_or_told(place: Place) -> None:
    operator = place.start_operator()
    value = "n0t-for-the-logs-" * 4
    place.api.create(names.SECRET, place.namespace, _secret(value, watched=False))
    place.create(secrets=_spec_with_jwt_from_secret())
    place.promote()
    told = operator.log() + str(place.owner())
    assert value not in told
    assert base64.b64encode(value.encode()).decode() not in told


def test_a_broken_address_of_the_database_stops_the_goal_alone_and_is_nowhere_told(place: Place) -> None:
    place.api.create(names.SECRET, place.namespace, _database("postgresql://u:n0t-told@db.example.com:6543/d"))
    operator = place.start_operator()
    source = {"secretKeyRef": {"name": "db", "key": "url"}}
    place.create(database={"urlFrom": source, "pooler": {}}, networkPolicy={})
    place.promote()
    before = place.api.get(names.SECRET, place.namespace, "ccl-pgbouncer")["data"]
    broken = _database("postgresql://u:n0t/told@h:99999/d")["data"]
    place.api.patch(names.SECRET, place.namespace, "db", {"data": broken})
    until("the address is refused", lambda: place.condition("SecretsValid").get("status") == "False", timeout=20)
    assert "DATABASE_URL" in place.condition("SecretsValid")["message"]
    lost = [(names.SERVICE, "ccl"), (names.NETWORK_POLICY, "ccl-web"), (names.DEPLOYMENT, "ccl-pgbouncer")]
    for child in lost:
        place.api.delete(child[0], place.namespace, child[1])

    def back() -> bool:
        place.hand.step()
        return all(place.api.find(kind, place.namespace, name) for kind, name in lost) and place.is_true("Ready")

    until("the children are back", back)
    assert place.api.get(names.SECRET, place.namespace, "ccl-pgbouncer")["data"] == before
    told = operator.log() + str(place.owner())
    assert not [piece for piece in ("n0t-told", "n0t/told", "99999") if piece in told]


def _database(url: str) -> dict[str, object]:
    data = {"url": base64.b64encode(url.encode()).decode()}
    return {"metadata": {"name": "db", "labels": {names.WATCH_LABEL: "true"}}, "data": data}
