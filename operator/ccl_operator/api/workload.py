"""The specification's words on pods: how many, with what, where, and who may reach them. Same conventions as
``v1alpha1``."""

from typing import Literal

from pydantic import Field

from ccl_operator.api.shape import Annotations, Cidr, LabelKey, Labels, LabelValue, Shape, Subdomain, Url, VariableName
from ccl_operator.api.values import Bytes, Cpu


class Quantities(Shape):
    """Amounts of compute resources."""

    cpu: Cpu | None = Field(default=None, description="CPUs, e.g. 500m.")
    memory: Bytes | None = Field(default=None, description="Bytes of memory, e.g. 512Mi.")


class Resources(Shape):
    """What a container asks for, and its limits."""

    requests: Quantities = Field(default=Quantities(cpu="100m", memory="256Mi"), description="Reserved amounts.")
    limits: Quantities = Field(default=Quantities(memory="512Mi"), description="Upper bounds.")


class Variable(Shape):
    """One more environment variable, with a literal value."""

    name: VariableName = Field(description="Name; one that the operator sets itself is refused.")
    value: str = Field(max_length=4096, description="Value.")


class Toleration(Shape):
    """A taint that the pods may be placed in spite of."""

    key: LabelKey | None = Field(default=None, description="Key of the taint; absent with Exists: every taint.")
    operator: Literal["Equal", "Exists"] = Field(default="Equal", description="How key and value are compared.")
    value: LabelValue | None = Field(default=None, description="Value of the taint.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="Effect of the taint; absent: every effect."
    )
    toleration_seconds: int | None = Field(
        default=None, ge=0, le=86_400, description="With NoExecute: how long a pod stays, in seconds."
    )


class Template(Shape):
    """What the pods carry beside what the operator puts there, and on which nodes they run."""

    labels: Labels = Field(default={}, description="More labels; those of the operator are refused.")
    annotations: Annotations = Field(default={}, description="Annotations.")
    node_selector: Labels = Field(default={}, description="Labels that a node must carry.")
    tolerations: tuple[Toleration, ...] = Field(
        default=(), max_length=20, description="Taints that the pods may be placed in spite of."
    )
    priority_class_name: Subdomain | None = Field(default=None, description="PriorityClass of the pods.")


class Probe(Shape):
    """How often the kubelet asks; what is absent keeps the operator's value."""

    period_seconds: int | None = Field(default=None, ge=1, le=300, description="Time between two questions.")
    timeout_seconds: int | None = Field(default=None, ge=1, le=60, description="Longest time for an answer.")
    failure_threshold: int | None = Field(default=None, ge=1, le=600, description="Failures in a row that count.")


class Probes(Shape):
    """Tuning of the probes; what they ask is fixed."""

    startup: Probe = Field(default=Probe(), description="/live until the first success; 2 s, 2 s, 60 failures.")
    liveness: Probe = Field(default=Probe(), description="/live; 10 s, 2 s, 3 failures restart the container.")
    readiness: Probe = Field(default=Probe(), description="/ready; 3 s, 2 s, 2 failures take it out of the Service.")


class Component(Shape):
    """Pods of one kind: web or jobs."""

    resources: Resources = Field(default=Resources(), description="Compute resources of each pod.")
    extra_env: tuple[Variable, ...] = Field(default=(), max_length=50, description="More environment variables.")
    probes: Probes = Field(default=Probes(), description="How often the pods are asked how they are.")
    template: Template = Field(default=Template(), description="More labels and annotations, and where pods run.")


class Jobs(Component):
    """Pods that do the background work; Jobs (migration, upkeep, backup) run on the same nodes."""

    replicas: int = Field(default=1, ge=1, le=20, description="Pods; work is claimed row by row, so more share it.")


class Autoscaling(Shape):
    """Web pods by load: a HorizontalPodAutoscaler that sets ``replicas`` of this object."""

    min: int = Field(default=1, ge=1, le=100, description="Fewest web pods.")
    max: int = Field(ge=1, le=100, description="Most web pods.")
    target_cpu_percent: int = Field(
        default=70, ge=1, le=1000, alias="targetCPUPercent", description="Average use of the requested CPU, in percent."
    )


class ServiceAccount(Shape):
    """The ServiceAccount of web, jobs, and every Job; no token is mounted. Pooler, database and Redis have no business
    with anything outside, and get none of it."""

    annotations: Annotations = Field(default={}, description="E.g. for workload identity, so that no key is needed.")


class LabelSelector(Shape):
    """Objects by their labels."""

    match_labels: Labels = Field(default={}, description="Labels that all must be there; none selects everything.")


class IpBlock(Shape):
    """Addresses outside of the cluster."""

    cidr: Cidr = Field(description="Network, e.g. 10.0.0.0/8.")


class Peer(Shape):
    """Who may connect, as a peer of a NetworkPolicy."""

    namespace_selector: LabelSelector | None = Field(default=None, description="Pods of these namespaces.")
    pod_selector: LabelSelector | None = Field(default=None, description="Only these pods.")
    ip_block: IpBlock | None = Field(default=None, description="Addresses; alone.")


def _namespace(name: str) -> Peer:
    return Peer(namespace_selector=LabelSelector(match_labels={"kubernetes.io/metadata.name": name}))


#: What is usual around a service.
USUAL_PEERS = (_namespace("ingress-nginx"), _namespace("monitoring"))


class NetworkPolicy(Shape):
    """A NetworkPolicy per component: what is not needed is closed. Policies of your own add to them."""

    enabled: bool = Field(default=True, description="Whether to make them.")
    allow_from: tuple[Peer, ...] = Field(
        default=USUAL_PEERS,
        max_length=20,
        description="Who reaches the web and jobs pods beside the same namespace and the operator.",
    )


class Monitoring(Shape):
    """Objects of the Prometheus operator, made while its kinds are served, and where spans go."""

    service_monitor: bool = Field(
        default=True, description="PodMonitors for metrics of web and jobs pods, and of the pooler."
    )
    rules: bool = Field(default=True, description="A PrometheusRule with the alerts.")
    labels: Labels = Field(
        default={},
        description="More labels of these objects, by which a Prometheus selects them, e.g. release: prometheus.",
    )
    otlp_endpoint: Url | None = Field(
        default=None, description="Collector that spans are exported to, by OTLP over HTTP; absent: nowhere."
    )
