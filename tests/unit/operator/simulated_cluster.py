"""A pure stand-in of a cluster: carries out plans, and does step by step what a cluster's own controllers would do."""

import base64
import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from ccl_contract.keys import INTERNAL_API, JWT, SESSION, parse_key_file
from ccl_contract.readiness import KeyIds, ReadinessReport
from ccl_operator import names
from ccl_operator.actions import Delete, Event, Plan, Resource
from ccl_operator.api.status import Status, parse_status, render_status
from ccl_operator.config import Config
from ccl_operator.observe import Observed, Probe
from ccl_operator.plan import plan
from ccl_operator.report import failed, interrupted
from tests.unit.operator.samples import CONFIG, MIGRATED, SPEC, START, passing, secret, stamp


class Crash(Exception):
    """The operator has died."""


@dataclass
class SimulatedCluster:
    """``answers``: image → gate answer of its pods, None for no answer. ``migrations``: image → report or failure.

    ``migrating``: image → whether the database has answered its migration, which then goes on without end.
    ``frozen``: names of objects, and images, for which no controller does anything. ``mute``: names of pods that answer
    nobody. ``crash_after``: the operator dies behind that write, counted from 1 (``Crash``); its successor comes by
    the next ``reconcile``.
    """

    spec: dict[str, Any] = field(default_factory=lambda: copy.deepcopy(SPEC))
    now: datetime = START
    config: Config = CONFIG
    objects: dict[tuple[Resource, str], dict[str, Any]] = field(default_factory=dict)
    referenced: dict[str, Mapping[str, Any] | None] = field(default_factory=dict)
    foreign: set[tuple[Resource, str]] = field(default_factory=set)
    refused: dict[tuple[Resource, str], str] = field(default_factory=dict)
    answers: dict[str, Callable[[str], ReadinessReport | None]] = field(default_factory=dict)
    migrations: dict[str, Mapping[str, Any] | str] = field(default_factory=dict)
    migrating: dict[str, bool] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    writes: int = 0
    served: list[str | None] = field(default_factory=list)
    frozen: set[str] = field(default_factory=set)
    mute: set[str] = field(default_factory=set)
    crash_after: int = 0
    served_kinds: frozenset[Resource] = frozenset()
    _serial: int = 0
    _asked: frozenset[str] = frozenset()
    _silent_since: dict[str, datetime] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.owner = self._new_owner()
        self.referenced.update(
            mailgun=secret(MAILGUN_API_KEY="key-of-mailgun", MAILGUN_WEBHOOK_SIGNING_KEY="signing-of-mailgun"),
            openai=secret(OPENAI_API_KEY="sk-of-openai"),
        )

    def _new_owner(self) -> dict[str, Any]:
        metadata = {"name": "ccl", "namespace": "loans", "uid": self._fresh("owner"), "generation": 1}
        return {"apiVersion": "x", "kind": "CclDeployment", "metadata": metadata, "spec": self.spec}

    def _fresh(self, prefix: str) -> str:
        self._serial += 1
        return f"{prefix}-{self._serial}"

    # -- what tests do

    def change(self, **spec: Any) -> None:
        self.spec = {**self.spec, **spec}
        self.owner = {
            **self.owner,
            "spec": self.spec,
            "metadata": {**self.owner["metadata"], "generation": self.owner["metadata"]["generation"] + 1},
        }

    def delete_owner_and_recreate(self) -> None:
        uid = self.owner["metadata"]["uid"]
        for key, each in list(self.objects.items()):
            if any(reference["uid"] == uid for reference in each["metadata"].get("ownerReferences", ())):
                del self.objects[key]
        for key in [key for key in self.objects if key[0] in {names.POD, names.ENDPOINT_SLICE}]:
            del self.objects[key]
        self.owner = self._new_owner()

    def run(self, *, until: Callable[[], bool] = lambda: False, passes: int = 200) -> None:
        """Reconcile until the condition holds, or nothing is written and nothing is awaited within ten minutes."""
        for _ in range(passes):
            if until():
                return
            before = (self.writes, self._asked)
            result = self.reconcile()
            if not self.controllers() and (self.writes, self._asked) == before:
                if result.requeue_at is None or result.requeue_at - self.now > timedelta(minutes=10):
                    return
                self.now = max(result.requeue_at, self.now + timedelta(seconds=1))
        raise AssertionError(f"did not settle: {self.owner['status']}")

    def observed(self) -> Observed:
        children: dict[Resource, tuple[Any, ...]] = dict.fromkeys(names.CHILDREN, ())
        for (resource, _), manifest in sorted(self.objects.items(), key=lambda item: item[0][1]):
            children[resource] = (*children[resource], manifest)
        return Observed(
            owner=self.owner,
            children=children,
            referenced=dict(self.referenced),
            foreign=frozenset(self.foreign),
            probes=self._probes(),
            refused=dict(self.refused),
            served=self.served_kinds,
        )

    def planned(self, **changes: Any) -> Plan:
        """What a pass would want now; ``changes`` are in what it observes."""
        entropy = bytes((self._serial + offset) % 256 for offset in range(256))
        return plan(replace(self.observed(), **changes), now=self.now, config=self.config, entropy=entropy)

    def reconcile(self) -> Plan:
        result = self.planned()
        for each in result.applies:
            name = each.manifest["metadata"]["name"]
            if (each.resource, name) not in self.foreign:
                self._apply(each.resource, name, each.manifest, once=each.once)
        for each in result.deletes:
            self._delete(each)
        self.events += result.events
        if result.status is not None and result.status != self.owner.get("status"):
            self.owner = {**self.owner, "status": json.loads(json.dumps(result.status))}
            self._wrote()
        self._asked = frozenset(target.pod_uid for target in result.probes)
        return result

    def interrupt(self, why: str) -> None:
        """What is told when the API server keeps ending passes early."""
        self._tell(interrupted(parse_status(self.owner), self.owner["metadata"]["generation"], self.now, why=why))

    def fail(self) -> None:
        """What is told when a pass raises."""
        status = failed(parse_status(self.owner), self.owner["metadata"]["generation"], self.now)
        assert status is not None
        self._tell(status)

    def _tell(self, status: Status) -> None:
        self.owner = {**self.owner, "status": json.loads(json.dumps(render_status(status)))}

    def _wrote(self) -> None:
        self.writes += 1
        if self.writes == self.crash_after:
            self._asked = frozenset()
            self._silent_since.clear()
            raise Crash

    # -- what the cluster does

    def _apply(self, resource: Resource, name: str, manifest: Mapping[str, Any], *, once: bool) -> None:
        present = self.objects.get((resource, name))
        if present is not None and (once or _projection(present, manifest) == manifest):
            return
        fresh = json.loads(json.dumps(manifest))
        old = present or {"metadata": {"uid": self._fresh("uid"), "generation": 0}}
        generation = old["metadata"]["generation"] + int(old.get("spec") != fresh.get("spec"))
        fresh["metadata"] |= {
            "uid": old["metadata"]["uid"],
            "generation": generation,
            "resourceVersion": self._fresh("rv"),
            "creationTimestamp": old["metadata"].get("creationTimestamp", stamp(self.now)),
        }
        if "status" in old:
            fresh["status"] = old["status"]
        self.objects[resource, name] = fresh
        self._wrote()

    def _delete(self, action: Delete) -> None:
        present = self.objects[action.resource, action.name]
        assert present["metadata"]["uid"] == action.uid
        assert present["metadata"]["resourceVersion"] == action.resource_version
        del self.objects[action.resource, action.name]
        self._wrote()

    def controllers(self) -> bool:
        """One round of every controller; whether any of them did something."""
        before = json.dumps([each for _, each in sorted(self.objects.items(), key=lambda item: str(item[0]))])
        for (resource, name), manifest in list(self.objects.items()):
            if name in self.frozen:
                continue
            if resource == names.STATEFUL_SET:
                self._stateful_set(manifest)
            elif resource == names.JOB:
                self._job(manifest)
            elif resource == names.DEPLOYMENT:
                self._deployment(name, manifest)
        self._collect_pods()
        self._endpoints()
        self.served.append(self.traffic())
        return before != json.dumps([each for _, each in sorted(self.objects.items(), key=lambda item: str(item[0]))])

    def _stateful_set(self, manifest: dict[str, Any]) -> None:
        manifest["status"] = {"observedGeneration": manifest["metadata"]["generation"], "readyReplicas": 1}
        for template in manifest["spec"].get("volumeClaimTemplates", ()):
            name = f"{template['metadata']['name']}-{manifest['metadata']['name']}-0"
            claim = {"metadata": {**template["metadata"], "name": name, "uid": name}, "spec": template["spec"]}
            self.objects.setdefault((names.VOLUME_CLAIM, name), claim)

    def _job(self, manifest: dict[str, Any]) -> None:
        if manifest.get("status") or names.MIGRATE not in manifest["metadata"]["name"]:
            return
        image = manifest["spec"]["template"]["spec"]["containers"][0]["image"]
        if image in self.migrating:
            self._run_job_pod(manifest, answered=self.migrating[image])
            return
        outcome = self.migrations.get(image, MIGRATED)
        kind = "Failed" if isinstance(outcome, str) else "Complete"
        condition = {"type": kind, "status": "True", "lastTransitionTime": stamp(self.now)}
        if isinstance(outcome, str):
            condition["message"] = outcome
        manifest["status"] = {"conditions": [condition]}
        self.end_job_pod(manifest, json.dumps(outcome))

    def _run_job_pod(self, job: Mapping[str, Any], *, answered: bool) -> None:
        key = names.POD, f"{job['metadata']['name']}-x"
        pod = self.objects.setdefault(key, self._job_pod(job, {"conditions": []}))
        ready = {"type": "Ready", "status": str(answered), "lastTransitionTime": stamp(self.now)}
        if ready["status"] not in [each["status"] for each in pod["status"]["conditions"]]:
            running = {"containerStatuses": [{"state": {"running": {}}}]}
            pod["status"] = {"phase": "Running", "conditions": [ready], **running}

    def end_job_pod(self, job: Mapping[str, Any], message: str) -> None:
        terminated = {"exitCode": 0, "finishedAt": stamp(self.now), "message": message}
        status = {"phase": "Succeeded", "containerStatuses": [{"state": {"terminated": terminated}}]}
        self.objects[names.POD, f"{job['metadata']['name']}-x"] = self._job_pod(job, status)

    def _job_pod(self, job: Mapping[str, Any], status: dict[str, Any]) -> dict[str, Any]:
        metadata = {
            "name": f"{job['metadata']['name']}-x",
            "uid": self._fresh("pod"),
            "creationTimestamp": stamp(self.now),
            "labels": job["metadata"]["labels"],
            "ownerReferences": [{"kind": "Job", "uid": job["metadata"]["uid"]}],
        }
        return {"metadata": metadata, "status": status}

    def _deployment(self, name: str, manifest: dict[str, Any]) -> None:
        if manifest["spec"]["template"]["spec"]["containers"][0]["image"] in self.frozen:
            return
        wanted = manifest["spec"]["replicas"]
        for number in range(10):
            key = (names.POD, f"{name}-{number}")
            if number >= wanted:
                self.objects.pop(key, None)
            elif key not in self.objects:
                ready = {"type": "Ready", "status": "True", "lastTransitionTime": stamp(self.now)}
                template = manifest["spec"]["template"]
                self.objects[key] = {
                    "metadata": {
                        "name": key[1],
                        "uid": self._fresh("pod"),
                        "labels": template["metadata"]["labels"],
                        "ownerReferences": [{"kind": "ReplicaSet", "uid": f"rs-of-{manifest['metadata']['uid']}"}],
                    },
                    "spec": template["spec"],
                    "status": {"phase": "Running", "podIP": "10.0.0.1", "conditions": [ready]},
                }
        counts = ("replicas", "readyReplicas", "updatedReplicas", "availableReplicas")
        manifest["status"] = {"observedGeneration": manifest["metadata"]["generation"]} | dict.fromkeys(counts, wanted)

    def _collect_pods(self) -> None:
        living = {
            each["metadata"]["uid"] for (r, _), each in self.objects.items() if r in {names.DEPLOYMENT, names.JOB}
        }
        for key in [key for key in self.objects if key[0] == names.POD]:
            if self.objects[key]["metadata"]["ownerReferences"][0]["uid"].removeprefix("rs-of-") not in living:
                del self.objects[key]

    def _endpoints(self) -> None:
        for (resource, name), service in list(self.objects.items()):
            if resource != names.SERVICE:
                continue
            wanted = service["spec"]["selector"].items()
            pods = [each for (r, _), each in self.objects.items() if r == names.POD]
            targets = [pod for pod in pods if wanted <= pod["metadata"]["labels"].items()]
            self.objects[names.ENDPOINT_SLICE, f"{name}-abc"] = {
                "metadata": {
                    "name": f"{name}-abc",
                    "uid": f"slice-{name}",
                    "labels": {**service["metadata"]["labels"], names.SERVICE_NAME_LABEL: name},
                },
                "endpoints": [
                    {"conditions": {"ready": True}, "targetRef": {"uid": pod["metadata"]["uid"]}} for pod in targets
                ],
            }

    def _probes(self) -> dict[str, Probe]:
        """What the pods said that the last plan wanted to be asked."""
        found: dict[str, Probe] = {}
        for (resource, name), pod in self.objects.items():
            uid = pod["metadata"].get("uid")
            if resource != names.POD or uid not in self._asked:
                continue
            image, revision = pod["spec"]["containers"][0]["image"], pod["metadata"]["labels"][names.REVISION_LABEL]
            answer = None if name in self.mute else self.answers.get(image, passing)(revision)
            if answer is None:
                since = self._silent_since.setdefault(uid, self.now)
                found[uid] = Probe(self.now, None, "timeout", since)
            else:
                self._silent_since.pop(uid, None)
                found[uid] = Probe(self.now, answer.model_copy(update={"keys": self._held()}))
        return found

    def _held(self) -> KeyIds:
        """What a pod that mounts the keys reports."""
        data = self.objects.get((names.SECRET, names.keys("ccl")), {}).get("data", {})
        files = {"internal_api": INTERNAL_API, "jwt": JWT, "session": SESSION}
        held = {field: base64.b64decode(data[name]).decode() for field, name in files.items() if name in data}
        return KeyIds(**{field: parse_key_file(text).ids for field, text in held.items()})

    # -- what tests look at

    @property
    def status(self) -> dict[str, Any]:
        return self.owner.get("status", {})

    def condition(self, kind: str) -> tuple[str, str]:
        found = next(each for each in self.status["conditions"] if each["type"] == kind)
        return found["status"], found["reason"]

    def condition_message(self, kind: str) -> str:
        return next(each["message"] for each in self.status["conditions"] if each["type"] == kind)

    def traffic(self) -> str | None:
        """The revision that the Service selects, if it has pods."""
        service = self.objects.get((names.SERVICE, "ccl"))
        if service is None or not self.objects[names.ENDPOINT_SLICE, "ccl-abc"]["endpoints"]:
            return None
        return str(service["spec"]["selector"][names.REVISION_LABEL])

    def get(self, resource: Resource, name: str) -> dict[str, Any] | None:
        return self.objects.get((resource, name))

    def named(self, resource: Resource) -> list[str]:
        return sorted(name for kind, name in self.objects if kind == resource)

    def replicas(self, name: str) -> int:
        return int(self.objects[names.DEPLOYMENT, name]["spec"]["replicas"])


def _projection(present: Any, wanted: Any) -> Any:
    if isinstance(wanted, Mapping) and isinstance(present, Mapping):
        return {key: _projection(present.get(key), value) for key, value in wanted.items()}
    return present
