"""Pod templates whose pods hold state or connections, as they were released.

A revision's own templates are stored and replayed; these are rendered anew by every version of the operator, so that a
change of one restarts each database, Redis or pooler when the operator is upgraded. Whoever means that says so in the
notes of the release and renews the file: ``python -m tests.unit.operator.manifests.test_golden``.
"""

from pathlib import Path

import pytest
import yaml

from ccl_operator.api.v1alpha1 import EmbeddedDatabase, EmbeddedRedis, Pooler
from ccl_operator.manifests import embedded, pooler
from ccl_operator.manifests.meta import Target

TARGET = Target("ccl", "loans", "uid", pulls=("registry",))
#: Of the specification of a StatefulSet; the API server refuses any other change.
CHANGEABLE = {"template", "replicas", "persistentVolumeClaimRetentionPolicy"}
FOLDER = Path(__file__).parent / "golden"
BUILT = {
    "postgres": embedded.postgres(TARGET, EmbeddedDatabase(version=17, storage="1Gi"), "postgres:17"),
    "redis": embedded.redis(TARGET, EmbeddedRedis(), "valkey:8"),
    "pgbouncer": pooler.deployment(TARGET, Pooler(), "pgbouncer:1"),
}


def text(name: str) -> str:
    return yaml.safe_dump(BUILT[name]["spec"]["template"], sort_keys=True, width=120)


@pytest.mark.parametrize("name", BUILT)
def test_a_new_version_of_the_operator_does_not_restart_what_runs(name):
    assert text(name) == (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["postgres", "redis"])
def test_what_a_stateful_set_cannot_change_is_as_it_was_released(name):
    parts = {key: value for key, value in BUILT[name]["spec"].items() if key not in CHANGEABLE}
    claims = [each["spec"]["accessModes"] for each in parts.pop("volumeClaimTemplates", ())]
    assert claims == ([["ReadWriteOnce"]] if name == "postgres" else [])
    assert parts == {
        "serviceName": f"ccl-{name}",
        "selector": {"matchLabels": {"app.kubernetes.io/instance": "ccl", "app.kubernetes.io/component": name}},
    }


if __name__ == "__main__":
    for each in BUILT:
        (FOLDER / f"{each}.yaml").write_text(text(each), encoding="utf-8")
