"""The CronJob's own template makes a dump that PostgreSQL's tools can restore, whole."""

import json
from typing import Any

from ccl_contract.backup import Manifest
from tests.e2e.system import Deployed, until

#: One line per table, ``schema.name|rows``.
COUNTS = r"""
SELECT format('SELECT %L, count(*) FROM %I.%I', schemaname || '.' || tablename, schemaname, tablename) FROM pg_tables
 WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1 \gexec
"""
RESTORE = "\n".join(
    (
        "set -eu",
        "newest=$(ls -1 /backups/*/manifest.json | sort | tail -n 1)",
        'createdb --maintenance-db "$DATABASE_URL" restored',
        'pg_restore --exit-on-error --no-owner -d "${DATABASE_URL%/*}/restored" "$(dirname "$newest")/dump.pgc"',
        'tr -d "\\n" < "$newest" && echo',
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
    manifest, *counts = output.splitlines()
    restored = {name: int(rows) for name, rows in (line.split("|") for line in counts if line)}
    # The manifest has the counts of the source in the dump's own snapshot; the source itself goes on changing.
    assert restored == {table.name: table.rows for table in Manifest.model_validate_json(manifest).tables}
    assert 0 < restored["public.leads"] <= leads(ccl)


def leads(ccl: Deployed) -> int:
    """Leads in the running database, of which none is ever deleted here."""
    return int(ccl.psql("SELECT count(*) FROM leads"))


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
