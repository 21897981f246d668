"""What the rollout may look at, read off the observed objects. Pure."""

from collections import Counter
from collections.abc import Collection, Mapping
from datetime import datetime

from pydantic import ValidationError

from ccl_contract.readiness import KeyIds, ReadinessReport
from ccl_contract.schema import MigrationReport
from ccl_operator import inventory, names
from ccl_operator.actions import Manifest
from ccl_operator.api.status import Rollout, whole_second
from ccl_operator.api.v1alpha1 import Spec
from ccl_operator.api.values import duration
from ccl_operator.inventory import Inventory
from ccl_operator.observe import Probe
from ccl_operator.rollout import FRESH, CandidatePod, Facts, Limits, Migration


def limits(spec: Spec) -> Limits:
    """The specification's words on a promotion."""
    return Limits(
        migration=duration(spec.migration.timeout),
        deadline=duration(spec.promotion.deadline),
        min_ready=duration(spec.promotion.min_ready),
        treat_as_fail=spec.promotion.gates.production_readiness.treat_as_fail,
    )


def gather(
    found: Inventory, instance: str, spec: Spec, promotion: Rollout, *, probes: Mapping[str, Probe], now: datetime
) -> Facts:
    """The facts of one rollout."""
    revision = promotion.revision
    return Facts(
        waiting_for=_waiting_for(found, instance, spec),
        migration=_migration(found, instance, promotion),
        wanted=spec.replicas,
        settled=_settled(found, instance, revision, spec.replicas),
        pods=_candidate_pods(found, revision, probes, now),
        old_jobs_gone=_old_jobs_gone(found, revision),
        traffic_moved=_traffic_moved(found, instance, revision),
        new_jobs_ready=inventory.ready_replicas(found.get(names.DEPLOYMENT, names.jobs(instance, revision))) > 0,
    )


def migration_report(found: Inventory, job: Manifest) -> MigrationReport | None:
    """The report of a migration Job; None while there is none that can be read."""
    messages = inventory.termination_messages(found.pods(names.MIGRATE), job["metadata"]["uid"])
    for message in messages:
        try:
            return MigrationReport.model_validate_json(message)
        except ValidationError:
            continue
    return None


def fresh_answer(probe: Probe | None, revision: str, now: datetime) -> ReadinessReport | None:
    """A gate answer that counts: conclusive, recent, and of the right revision."""
    if probe is None or probe.report is None or now - probe.at > FRESH or probe.report.revision != revision:
        return None
    return probe.report


def living_web_pods(found: Inventory, revision: str) -> tuple[Manifest, ...]:
    """Web pods of a revision that are not on their way out."""
    pods = found.pods(names.WEB, revision)
    return tuple(pod for pod in pods if not inventory.terminating(pod) and not inventory.ended(pod))


def running(pod: Manifest) -> bool:
    """Whether a pod's containers have been started and it has an address to be asked at."""
    status = pod.get("status") or {}
    return status.get("phase") == "Running" and bool(status.get("podIP"))


def silent_from(found: Inventory, revision: str, probes: Mapping[str, Probe], now: datetime) -> datetime | None:
    """From when on the web pods of a revision are taken for silent: none of them has said anything for so long, or
    none runs. None while one of them has not been asked yet."""
    asked = [probes.get(pod["metadata"]["uid"]) for pod in living_web_pods(found, revision) if running(pod)]
    if None in asked:
        return None
    return max((whole_second(probe.quiet_since) + FRESH for probe in asked if probe is not None), default=now)


def key_holders(found: Inventory, probes: Mapping[str, Probe], now: datetime) -> dict[str, KeyIds | None]:
    """The ids of the keys that each pod of the service holds, by the pod's name; None: it has not said so lately.

    Pods of every revision, and jobs as well as web. One that no node has taken yet holds nothing, and reads the keys
    of the day when it starts.
    """
    held: dict[str, KeyIds | None] = {}
    for pod in service_pods(found):
        if not _unscheduled(pod):
            revision = inventory.label(pod, names.REVISION_LABEL) or ""
            answer = fresh_answer(probes.get(pod["metadata"]["uid"]), revision, now)
            held[inventory.name_of(pod)] = answer.keys if answer is not None else None
    return held


def service_pods(found: Inventory) -> tuple[Manifest, ...]:
    """Web and jobs pods of every revision that are not on their way out."""
    pods = (*found.pods(names.WEB), *found.pods(names.JOBS))
    return tuple(pod for pod in pods if not inventory.terminating(pod) and not inventory.ended(pod))


def _unscheduled(pod: Manifest) -> bool:
    scheduled = inventory.condition(pod, "PodScheduled")
    return scheduled is not None and scheduled["status"] == "False"


def lingering(found: Inventory, revisions: Collection[str], now: datetime) -> Counter[str]:
    """Number of service pods of other revisions that still run, by revision. One that should have ended by now is on a
    node that does not answer: nothing is known of it, and nothing waits for it."""
    count: Counter[str] = Counter()
    for pod in (*found.pods(names.WEB), *found.pods(names.JOBS)):
        revision = inventory.label(pod, names.REVISION_LABEL)
        due = inventory.moment(pod["metadata"].get("deletionTimestamp"))
        if revision is not None and revision not in revisions and not inventory.ended(pod) and (not due or due > now):
            count[revision] += 1
    return count


def _waiting_for(found: Inventory, instance: str, spec: Spec) -> tuple[str, ...]:
    wanted = []
    if spec.database.embedded is not None:
        wanted.append(names.postgres(instance))
    if spec.sessions.redis is not None and spec.sessions.redis.embedded is not None:
        wanted.append(names.redis(instance))
    waiting = [name for name in wanted if inventory.ready_replicas(found.get(names.STATEFUL_SET, name)) < 1]
    pooler = names.pgbouncer(instance)
    if spec.database.pooled is not None and inventory.ready_replicas(found.get(names.DEPLOYMENT, pooler)) < 1:
        waiting.append(pooler)
    return tuple(waiting)


def is_earlier_attempt(job: Manifest, promotion: Rollout) -> bool:
    """Whether a migration Job was made for an earlier rollout of the same revision: its outcome says nothing now."""
    return inventory.label(job, names.ATTEMPT_LABEL) != str(promotion.generation)


def is_finished(job: Manifest) -> bool:
    """Whether a Job has ended, well or not."""
    return inventory.is_true(job, "Complete") or inventory.is_true(job, "Failed")


def _migration(found: Inventory, instance: str, promotion: Rollout) -> Migration:
    job = found.get(names.JOB, names.migrate(instance, promotion.revision))
    if job is None or inventory.terminating(job):
        return Migration()
    if not is_finished(job):
        return _unfinished(found, job)
    if is_earlier_attempt(job, promotion):
        return Migration()
    if inventory.is_true(job, "Complete"):
        return Migration(report=migration_report(found, job))
    failed = inventory.condition(job, "Failed") or {}
    why = failed.get("message") or failed.get("reason") or "no reason given"
    return Migration(failure=f"Job {inventory.name_of(job)}: {why}; its pods' logs say more")


def _unfinished(found: Inventory, job: Manifest) -> Migration:
    """What the Job's latest pod does. It is ready once the database has answered (``manifests.migrate``)."""
    pods = [pod for pod in found.pods(names.MIGRATE) if inventory.owned_by(pod, job["metadata"]["uid"])]
    pod = max(pods, key=inventory.created, default=None)
    if pod is None:
        return Migration(timed_from=inventory.created(job))
    if inventory.ended(pod):
        return Migration(running=True)  # the Job is about to say how it went, or to try again
    if answered := _ready_since(pod):
        return Migration(running=True, timed_from=answered)
    if inventory.is_running(pod):
        return Migration(waiting=True)
    return Migration(timed_from=inventory.created(pod))


def _settled(found: Inventory, instance: str, revision: str, wanted: int) -> bool:
    web = found.get(names.DEPLOYMENT, names.web(instance, revision))
    if web is None or not inventory.up_to_date(web) or int(web["spec"]["replicas"]) != wanted:
        return False
    status = web["status"]
    counts = {int(status.get(key, 0)) for key in ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")}
    return counts == {wanted} and len(living_web_pods(found, revision)) == wanted


def _candidate_pods(
    found: Inventory, revision: str, probes: Mapping[str, Probe], now: datetime
) -> tuple[CandidatePod, ...]:
    return tuple(
        CandidatePod(
            name=inventory.name_of(pod),
            ready_since=_ready_since(pod),
            answer=fresh_answer(probes.get(pod["metadata"]["uid"]), revision, now),
            trouble=trouble(pod),
        )
        for pod in living_web_pods(found, revision)
    )


def _ready_since(pod: Manifest) -> datetime | None:
    if not inventory.is_true(pod, "Ready"):
        return None
    ready = inventory.condition(pod, "Ready") or {}
    return inventory.moment(ready.get("lastTransitionTime"))


def trouble(pod: Manifest) -> str:
    """What keeps a pod from running, by the kubelet's or the scheduler's word; no text of the container itself."""
    for container in (pod.get("status") or {}).get("containerStatuses") or ():
        waiting = (container.get("state") or {}).get("waiting")
        if waiting:
            return str(waiting.get("reason", "Waiting"))
    scheduled = inventory.condition(pod, "PodScheduled")
    if scheduled is not None and scheduled["status"] == "False":
        return str(scheduled.get("message") or scheduled.get("reason") or "Unschedulable")
    return ""


def _old_jobs_gone(found: Inventory, revision: str) -> bool:
    """No pod of another revision's jobs is left, and none can come: their Deployments are at 0 and know it."""
    pods = [
        pod
        for pod in found.pods(names.JOBS)
        if inventory.label(pod, names.REVISION_LABEL) != revision and not inventory.ended(pod)
    ]
    deployments = [
        each
        for each in found.all(names.DEPLOYMENT, component=names.JOBS)
        if inventory.label(each, names.REVISION_LABEL) != revision
    ]
    return not pods and all(
        int(each["spec"].get("replicas", 1)) == 0
        and inventory.up_to_date(each)
        and int(each["status"].get("replicas", 0)) == 0
        for each in deployments
    )


def _traffic_moved(found: Inventory, instance: str, revision: str) -> bool:
    service = names.stable_service(instance)
    slices = [
        each for each in found.all(names.ENDPOINT_SLICE) if inventory.label(each, names.SERVICE_NAME_LABEL) == service
    ]
    endpoints = [endpoint for each in slices for endpoint in each.get("endpoints") or ()]
    uids = {pod["metadata"]["uid"] for pod in found.pods(names.WEB, revision)}
    ready = [each for each in endpoints if (each.get("conditions") or {}).get("ready", True)]
    return bool(ready) and all((each.get("targetRef") or {}).get("uid") in uids for each in endpoints)
