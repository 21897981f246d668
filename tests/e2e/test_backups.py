"""The CronJob's own template makes a dump that PostgreSQL's tools can restore, whole."""

import json
from typing import Any

from tests.e2e.system import Deployed, until

#: One line per table, ``name|rows``; the heartbeat table moves all the time and is left out.
COUNTS = r"""
SELECT format('SELECT %L, count(*) FROM %I', tablename, tablename) FROM pg_tables
 WHERE schemaname = 'public' AND tablename <> 'instances' ORDER BY tablename \gexec
"""
RESTORE = "\n".join(
    (
        "set -eu",
        "newest=$(ls -1 /backups/*/manifest.json | sort | tail -n 1)",
        'createdb --maintenance-db "$DATABASE_URL" restored',
        'pg_restore --exit-on-error --no-owner -d "${DATABASE_URL%/*}/restored" "$(dirname "$newest")/dump.pgc"',
        'printf "%s" "$COUNTS" | psql -qAt "${DATABASE_URL%/*}/restored"',
    )
)


def test_a_job_made_from_the_cronjob_leaves_a_dump_that_restores_with_equal_row_counts(ccl: Deployed) -> None:
    kubectl, namespace = ccl.system.kubectl, ccl.namespace
    kubectl("create", "job", "backup-now", f"--from=cronjob/{ccl.name}-backup", "-n", namespace)
    until(
        "the backup job",
        lambda: kubectl.get(namespace, "job", "backup-now").get("status", {}).get("succeeded"),
        180,
    )
    assert ccl.wait_condition("BackupHealthy", "True")
    assert ccl.get()["status"]["backup"]["lastSuccess"]

    pod = restore_pod(ccl)
    kubectl.apply(json.dumps(pod))
    name = pod["metadata"]["name"]
    phase = until(
        "the restore",
        lambda: (p := kubectl.get(namespace, "pod", name)["status"]["phase"]) in {"Succeeded", "Failed"} and p,
        180,
    )
    output = kubectl("logs", name, "-n", namespace)
    assert phase == "Succeeded", output
    restored = dict(line.split("|") for line in output.split())
    assert restored == live_counts(ccl)
    assert int(restored["leads"]) > 0


def live_counts(ccl: Deployed) -> dict[str, str]:
    """Row counts of the running database, by table."""
    return dict(line.split("|") for line in ccl.psql(COUNTS).split())


def restore_pod(ccl: Deployed) -> dict[str, Any]:
    """The backup job's own pod template, with a shell that restores in place of the runner."""
    cronjob = ccl.system.kubectl.get(ccl.namespace, "cronjob", f"{ccl.name}-backup")
    template = cronjob["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    container = template["containers"][0] | {"command": ["sh", "-c", RESTORE], "args": []}
    container["env"] = [*container.get("env", []), {"name": "COUNTS", "value": COUNTS}]
    secret = {"secretKeyRef": {"name": f"{ccl.name}-postgres", "key": "url"}}
    container["env"] = [e for e in container["env"] if e["name"] != "DATABASE_URL"]
    container["env"].append({"name": "DATABASE_URL", "valueFrom": secret})
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "restore-proof", "namespace": ccl.namespace},
        "spec": template | {"containers": [container], "restartPolicy": "Never"},
    }
