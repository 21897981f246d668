"""Revisions: everything that decides behaviour, under one hash. Pure.

The hash is taken over normalised inputs, not over what this version of the operator renders, so that an upgrade of the
operator names the same revisions. What was rendered first is stored in the ControllerRevision and replayed unchanged.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ccl_operator import environment, names
from ccl_operator.actions import Manifest
from ccl_operator.api.v1alpha1 import Spec
from ccl_operator.api.workload import Component
from ccl_operator.manifests import service_pods
from ccl_operator.manifests.meta import Target, child

#: Parts of the specification that decide behaviour as they stand. The rest is either an input of its own below, or
#: says how many and how, not what (replicas, promotion, backup …).
_INPUTS: Final[dict[str, Any]] = {
    "environment": True,
    "http": {"host", "cors_origins", "trust_proxy", "rate_limit", "body_limit"},
    "image_pull_secrets": True,
    "mail": True,
    "secrets": {"mailgun": {"domain", "base_url"}, "openai": {"base_url", "model"}},
    "database": {"pool"},
}


@dataclass(frozen=True)
class Revision:
    """One version of the service with its configuration: ``env`` by variable, ``web`` and ``jobs`` pod templates."""

    name: str
    image: str
    env: Mapping[str, str]
    web: Manifest
    jobs: Manifest

    def template(self, component: str) -> Manifest:
        """Pod template of ``web`` or ``jobs``."""
        return {names.WEB: self.web, names.JOBS: self.jobs}[component]

    def variables(self, component: str) -> dict[str, str]:
        """What its pods get as plain text: the ConfigMap, and what the specification adds."""
        items = self.template(component)["spec"]["containers"][0].get("env") or ()
        return {**self.env, **{item["name"]: item["value"] for item in items if "value" in item}}


def revision_name(spec: Spec, external_digest: str) -> str:
    """Ten hex characters over the normalised inputs. Fields at their default do not count, so a later version of the
    API may add fields without making new revisions."""
    decisive = spec.model_dump(mode="json", include=_INPUTS, exclude_defaults=True)
    if not decisive.get("secrets"):
        # Left over when only the rotation of keys is not at its default, which decides nothing about a pod.
        decisive.pop("secrets", None)
    inputs = {
        "image": spec.image,
        "spec": decisive,
        "web": _component(spec.web),
        "jobs": _component(spec.jobs),
        "generated": environment.generated_keys(spec),
        "external": external_digest,
    }
    if spec.monitoring is not None and spec.monitoring.otlp_endpoint is not None:
        inputs["otlpEndpoint"] = spec.monitoring.otlp_endpoint
    text = json.dumps(inputs, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[: names.REVISION_LENGTH]


def render(target: Target, spec: Spec, name: str, *, deployment_id: str) -> Revision:
    """What this version of the operator makes of the specification."""
    instance = target.instance
    return Revision(
        name=name,
        image=spec.image,
        env=environment.render(spec, revision=name, deployment_id=deployment_id),
        web=service_pods.template(instance, names.WEB, name, spec.image, spec.web, pulls=target.pulls),
        jobs=service_pods.template(instance, names.JOBS, name, spec.image, spec.jobs, pulls=target.pulls),
    )


def controller_revision(target: Target, revision: Revision, *, number: int) -> dict[str, Any]:
    """The ControllerRevision that keeps a revision; ``number`` counts them."""
    data = {
        "v": 1,
        "image": revision.image,
        "env": dict(revision.env),
        "templates": {"web": revision.web, "jobs": revision.jobs},
    }
    name = names.controller_revision(target.instance, revision.name)
    body = {"revision": number, "data": data}
    return child(names.CONTROLLER_REVISION, target, name, body, revision=revision.name)


def stored(manifests: Sequence[Manifest]) -> dict[str, Revision]:
    """The revisions kept in ControllerRevisions, by name. One that another version wrote differently is left out."""
    found: dict[str, Revision] = {}
    for manifest in manifests:
        name = (manifest["metadata"].get("labels") or {}).get(names.REVISION_LABEL)
        data = manifest.get("data") or {}
        if name and data.get("v") == 1:
            templates = data["templates"]
            found[name] = Revision(name, data["image"], data["env"], templates["web"], templates["jobs"])
    return found


def next_number(manifests: Sequence[Manifest]) -> int:
    """One more than the highest number in use; 1 for the first."""
    return 1 + max((int(manifest.get("revision", 0)) for manifest in manifests), default=0)


def _component(component: Component) -> dict[str, Any]:
    parts = component.model_dump(mode="json", include={"probes", "template"}, exclude_defaults=True)
    return {
        "resources": service_pods.resources(component),
        "extraEnv": [[item.name, item.value] for item in component.extra_env],
        **{name: part for name, part in parts.items() if part},
    }
