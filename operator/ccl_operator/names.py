"""Every name, label, selector and kind the operator uses. Pure; what carries them is built in ``manifests``.

Names are derived from the CclDeployment's name (at most 40 characters) and, for what belongs to one revision, from the
ten characters of its hash, so that all of them fit the 63 characters of a DNS label.
"""

import re
from collections.abc import Mapping
from typing import Final

from ccl_operator.actions import Resource

GROUP: Final = "ccl.completecarloans.com"
VERSION: Final = "v1alpha1"
FIELD_MANAGER: Final = "ccl-operator"
MANAGED_BY: Final = "ccl-operator"

OWNER: Final = Resource(GROUP, VERSION, "ccldeployments", "CclDeployment")

SECRET: Final = Resource("", "v1", "secrets", "Secret")
CONFIG_MAP: Final = Resource("", "v1", "configmaps", "ConfigMap")
SERVICE: Final = Resource("", "v1", "services", "Service")
VOLUME_CLAIM: Final = Resource("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim")
POD: Final = Resource("", "v1", "pods", "Pod")
DEPLOYMENT: Final = Resource("apps", "v1", "deployments", "Deployment")
STATEFUL_SET: Final = Resource("apps", "v1", "statefulsets", "StatefulSet")
CONTROLLER_REVISION: Final = Resource("apps", "v1", "controllerrevisions", "ControllerRevision")
JOB: Final = Resource("batch", "v1", "jobs", "Job")
CRON_JOB: Final = Resource("batch", "v1", "cronjobs", "CronJob")
DISRUPTION_BUDGET: Final = Resource("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget")
SERVICE_ACCOUNT: Final = Resource("", "v1", "serviceaccounts", "ServiceAccount")
AUTOSCALER: Final = Resource("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler")
INGRESS: Final = Resource("networking.k8s.io", "v1", "ingresses", "Ingress")
NETWORK_POLICY: Final = Resource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy")
POD_MONITOR: Final = Resource("monitoring.coreos.com", "v1", "podmonitors", "PodMonitor")
PROMETHEUS_RULE: Final = Resource("monitoring.coreos.com", "v1", "prometheusrules", "PrometheusRule")
ENDPOINT_SLICE: Final = Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")

#: Kinds that are only watched; the cluster's own controllers make them.
READ_ONLY: Final[tuple[Resource, ...]] = (POD, ENDPOINT_SLICE)
#: Kinds of others, which a cluster may not have, or have later.
OPTIONAL: Final[tuple[Resource, ...]] = (POD_MONITOR, PROMETHEUS_RULE)
#: Every kind of child, written or only watched.
CHILDREN: Final[tuple[Resource, ...]] = (
    SECRET,
    CONFIG_MAP,
    SERVICE,
    VOLUME_CLAIM,
    DEPLOYMENT,
    STATEFUL_SET,
    CONTROLLER_REVISION,
    JOB,
    CRON_JOB,
    DISRUPTION_BUDGET,
    SERVICE_ACCOUNT,
    AUTOSCALER,
    INGRESS,
    NETWORK_POLICY,
    *OPTIONAL,
    *READ_ONLY,
)

NAME_LABEL: Final = "app.kubernetes.io/name"
INSTANCE_LABEL: Final = "app.kubernetes.io/instance"
COMPONENT_LABEL: Final = "app.kubernetes.io/component"
MANAGED_BY_LABEL: Final = "app.kubernetes.io/managed-by"
REVISION_LABEL: Final = f"{GROUP}/revision"
#: On the volume of an embedded database: the major version whose files it holds.
POSTGRES_VERSION_LABEL: Final = f"{GROUP}/postgres-version"
#: On a migration Job: the generation of the specification that its rollout was started for.
ATTEMPT_LABEL: Final = f"{GROUP}/attempt"
#: On a referenced Secret, by its owner: react to changes at once.
WATCH_LABEL: Final = f"{GROUP}/watch"
#: Set by the EndpointSlice controller (kubernetes.io, EndpointSlices, "Ownership").
SERVICE_NAME_LABEL: Final = "kubernetes.io/service-name"

WEB: Final = "web"
JOBS: Final = "jobs"
MIGRATE: Final = "migrate"
POSTGRES: Final = "postgres"
REDIS: Final = "redis"
BACKUP: Final = "backup"
PGBOUNCER: Final = "pgbouncer"
MAINTAIN: Final = "maintain"
COMPONENTS: Final = (WEB, JOBS, MIGRATE, POSTGRES, REDIS, BACKUP, PGBOUNCER, MAINTAIN)

#: What a Service selects while there is no revision to send traffic to: no pod carries it.
NO_REVISION: Final = "none"
MAX_NAME: Final = 40
NAME_PATTERN: Final = "^[a-z]([-a-z0-9]*[a-z0-9])?$"
REVISION_LENGTH: Final = 10


def labels(instance: str, component: str | None = None, revision: str | None = None) -> dict[str, str]:
    """The labels of a child: always instance and managed-by, the rest where it applies."""
    found = {NAME_LABEL: "ccl", INSTANCE_LABEL: instance, MANAGED_BY_LABEL: MANAGED_BY}
    if component is not None:
        found[COMPONENT_LABEL] = component
    if revision is not None:
        found[REVISION_LABEL] = revision
    return found


def selector(instance: str, component: str, revision: str | None = None) -> dict[str, str]:
    """The labels by which a workload or Service finds its pods."""
    found = {INSTANCE_LABEL: instance, COMPONENT_LABEL: component}
    if revision is not None:
        found[REVISION_LABEL] = revision
    return found


def is_ours(manifest: Mapping[str, object], instance: str) -> bool:
    """Whether an object carries our managed-by label and this instance (ownership is a question of its own)."""
    metadata = manifest.get("metadata")
    found = metadata.get("labels") if isinstance(metadata, Mapping) else None
    return (
        isinstance(found, Mapping)
        and found.get(MANAGED_BY_LABEL) == MANAGED_BY
        and found.get(INSTANCE_LABEL) == instance
    )


def stable_service(instance: str) -> str:
    """Service of the stable revision's web pods."""
    return instance


def preview_service(instance: str) -> str:
    """Service of the candidate's web pods."""
    return f"{instance}-preview"


def web(instance: str, revision: str) -> str:
    """Deployment and PodDisruptionBudget of a revision's web pods."""
    return f"{instance}-web-{revision}"


def jobs(instance: str, revision: str) -> str:
    """Deployment of a revision's jobs pods."""
    return f"{instance}-jobs-{revision}"


def env(instance: str, revision: str) -> str:
    """ConfigMap with a revision's variables."""
    return f"{instance}-env-{revision}"


def ext(instance: str, revision: str) -> str:
    """Secret with a revision's copy of the referenced values."""
    return f"{instance}-ext-{revision}"


def migrate(instance: str, revision: str) -> str:
    """Job that migrates the database for a revision."""
    return f"{instance}-migrate-{revision}"


def controller_revision(instance: str, revision: str) -> str:
    """ControllerRevision that holds a revision's templates."""
    return f"{instance}-{revision}"


def keys(instance: str) -> str:
    """Secret with the generated keys and the deployment's identity."""
    return f"{instance}-keys"


def monitor(instance: str) -> str:
    """Secret with the monitoring token."""
    return f"{instance}-monitor"


def postgres(instance: str) -> str:
    """StatefulSet, Service and Secret of the embedded database."""
    return f"{instance}-postgres"


def postgres_volume(instance: str) -> str:
    """Volume claim that the StatefulSet makes for the embedded database (``<template>-<set>-<ordinal>``)."""
    return f"data-{postgres(instance)}-0"


def redis(instance: str) -> str:
    """StatefulSet and Service of the embedded Redis."""
    return f"{instance}-redis"


def pgbouncer(instance: str) -> str:
    """Deployment, Service, budget and Secret of the connection pooler."""
    return f"{instance}-pgbouncer"


def backup(instance: str) -> str:
    """CronJob of the backups."""
    return f"{instance}-backup"


def backups(instance: str) -> str:
    """Volume claim that holds the backups."""
    return f"{instance}-backups"


def direct(instance: str) -> str:
    """Secret with the database's own address, for Jobs that belong to no revision."""
    return f"{instance}-direct"


def maintain(instance: str) -> str:
    """CronJob of the upkeep."""
    return f"{instance}-maintain"


def service_account(instance: str) -> str:
    """ServiceAccount of the pods that run our own programs."""
    return instance


def policy(instance: str, component: str) -> str:
    """NetworkPolicy of one component."""
    return f"{instance}-{component}"


def valid_instance(name: str) -> bool:
    """Whether a CclDeployment may have this name: all derived names are then valid DNS labels."""
    return re.fullmatch(NAME_PATTERN, name) is not None and len(name) <= MAX_NAME
