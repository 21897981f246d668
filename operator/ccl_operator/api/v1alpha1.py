"""CclDeployment v1alpha1 as frozen models: the shape, the defaults and the words of ``kubectl explain``.

The CRD is generated from here (``api.schema``); rules that join several fields are in ``api.rules``. Field names are
those of the API (camelCase on the wire).
"""

from typing import Annotated, Literal

from pydantic import Field, ValidationError
from pydantic_core import ErrorDetails

from ccl_operator.actions import Manifest
from ccl_operator.api import forms
from ccl_operator.api.shape import Cidr, LocalReference, SecretKeySelector, SecretSource, Shape, Subdomain, Text, Url
from ccl_operator.api.values import Bytes, Duration
from ccl_operator.api.workload import Autoscaling, Component, Jobs, Monitoring, NetworkPolicy, ServiceAccount, Template

Image = Annotated[str, Field(pattern=forms.IMAGE, max_length=512)]
#: Texts without a pattern have a rule that says in a sentence what is wrong.
Host = Annotated[str, Field(max_length=253)]
Origin = Annotated[str, Field(max_length=300)]
CheckName = Annotated[str, Field(pattern=forms.CHECK, max_length=63)]


class KeySource(Shape):
    """A key: made and kept by the operator, or taken from a Secret."""

    generate: bool | None = Field(default=None, description="Let the operator make the key and keep it in <name>-keys.")
    secret_key_ref: SecretKeySelector | None = Field(default=None, description="Take the key from a Secret instead.")


class Mailgun(Shape):
    """The account that sends mail."""

    secret_ref: Subdomain = Field(
        description="Secret with MAILGUN_API_KEY and MAILGUN_WEBHOOK_SIGNING_KEY, which signs delivery events."
    )
    domain: Host = Field(description="Sending domain.")
    base_url: Url | None = Field(default=None, description="Another API address, for the EU region or a test server.")


class OpenAi(Shape):
    """The account that the agents use."""

    secret_ref: Subdomain = Field(description="Secret with OPENAI_API_KEY.")
    base_url: Url | None = Field(default=None, description="Another API address.")
    model: Text | None = Field(default=None, description="Model name; the service has a default.")


class Sentry(Shape):
    """Where errors are reported to."""

    secret_ref: Subdomain = Field(description="Secret with SENTRY_DSN, the address that holds the project's key.")


GENERATED = KeySource(generate=True)


class Secrets(Shape):
    """Keys and credentials."""

    internal_api_key: KeySource = Field(default=GENERATED, description="Root key of the HTTP API.")
    jwt: KeySource = Field(default=GENERATED, description="Key that signs tokens.")
    session: KeySource = Field(default=GENERATED, description="Key that signs sessions.")
    mailgun: Mailgun | None = Field(
        default=None, description="Mailgun account; required in production, and no version is promoted without one."
    )
    openai: OpenAi | None = Field(default=None, description="OpenAI account; required in production.")
    sentry: Sentry | None = Field(default=None, description="Sentry project; absent: errors are reported nowhere.")
    rotate_after: Duration | None = Field(
        default=None, description="Rotate generated keys at this age, at least 24h; absent: only when asked."
    )
    rotate: Annotated[str, Field(max_length=64)] = Field(
        default="", description="Change it to any other text to rotate the generated keys now."
    )


class TrustProxy(Shape):
    """Which proxies in front are believed about the client's address."""

    hops: int | None = Field(default=None, ge=1, le=10, description="Number of proxies in front of the service.")
    cidrs: tuple[Cidr, ...] | None = Field(
        default=None, min_length=1, max_length=20, description="Networks of the proxies in front of the service."
    )


class RateLimit(Shape):
    """Requests that one client address may make."""

    window_seconds: int = Field(default=60, ge=1, le=3600, description="Length of the window, in seconds.")
    max_requests: int = Field(default=100, ge=1, le=1_000_000, description="Requests per window.")


class Http(Shape):
    """How the service is reached."""

    host: Host | None = Field(default=None, description="Public host name; links are made with https://<host>.")
    ingress_class_name: Subdomain | None = Field(
        default=None, description="Class of an Ingress for the host; without class and TLS Secret none is made."
    )
    tls_secret_name: Subdomain | None = Field(
        default=None, description="Secret with the host's certificate, for the Ingress."
    )
    body_limit: Bytes | None = Field(
        default=None, description="Lowers the largest JSON body of every route; absent: 10Mi, which lowers none."
    )
    cors_origins: tuple[Origin, ...] = Field(
        default=(), max_length=20, description="Origins whose pages may call the API; required in production."
    )
    trust_proxy: TrustProxy | None = Field(default=None, description="Absent: the socket's peer is the client.")
    rate_limit: RateLimit = Field(default=RateLimit(), description="Limit per client address.")


class Mail(Shape):
    """The sender that people see."""

    from_: Text | None = Field(default=None, alias="from", description="Sender, e.g. Cathy <cathy@mg.example.com>.")
    postal_address: Text | None = Field(
        default=None, description="Postal address in the footer; without it mail is held and no version is promoted."
    )
    allowlist: tuple[Text, ...] = Field(
        default=(), max_length=100, description="Outside production: the addresses and @domains that may get mail."
    )


class EmbeddedDatabase(Shape):
    """One PostgreSQL next to the service, for trials and CI."""

    version: int = Field(ge=14, le=17, description="Major version.")
    storage: Bytes = Field(description="Size of its volume, e.g. 10Gi.")
    template: Template = Field(default=Template(), description="More labels and annotations, and where its pod runs.")


class Pool(Shape):
    """Connections that each pod keeps to the database."""

    size: int = Field(default=20, ge=1, le=200, description="Connections per pod.")
    idle_timeout: Duration = Field(default="30s", description="Idle connections are closed after this time.")
    connect_timeout: Duration = Field(default="60s", description="Longest time to open a connection.")


class Pooler(Shape):
    """PgBouncer between the service and the database: many pods share few connections."""

    enabled: bool = Field(default=True, description="Whether to run it; migrations and backups go past it.")
    mode: Literal["transaction", "session"] = Field(
        default="transaction", description="How long a client keeps a server connection: a transaction or a session."
    )
    replicas: int = Field(default=2, ge=1, le=20, description="PgBouncer pods.")
    max_client_connections: int = Field(
        default=1000, ge=10, le=100_000, description="Connections of clients that each PgBouncer pod accepts."
    )
    pool_size: int = Field(
        default=20, ge=1, le=1000, description="Connections to the database that each PgBouncer pod keeps at most."
    )
    template: Template = Field(default=Template(), description="More labels and annotations, and where pods run.")
    paused: bool = Field(
        default=False, description="Hold all queries (PAUSE) until it is false again (RESUME), e.g. to move a database."
    )


class Database(Shape):
    """The PostgreSQL that holds everything: one of your own, or an embedded one."""

    url_from: SecretSource | None = Field(default=None, description="Where the postgresql:// URL is.")
    direct_url_from: SecretSource | None = Field(
        default=None, description="URL past a pooler of your own, for migrations, backups and LISTEN."
    )
    replica_urls_from: SecretSource | None = Field(
        default=None, description="URLs of read replicas, separated by commas."
    )
    embedded: EmbeddedDatabase | None = Field(default=None, description="Let the operator run a PostgreSQL.")
    pool: Pool = Field(default=Pool(), description="Connection pool of each pod.")
    pooler: Pooler | None = Field(default=None, description="Absent: the pods connect to the database themselves.")

    @property
    def pooled(self) -> Pooler | None:
        """The pooler when one is to run."""
        return self.pooler if self.pooler is not None and self.pooler.enabled else None


class EmbeddedRedis(Shape):
    """One Redis next to the service; it holds only what can be lost."""

    template: Template = Field(default=Template(), description="More labels and annotations, and where its pod runs.")


class Redis(Shape):
    """The Redis that web pods share: one of your own, or an embedded one."""

    url_from: SecretSource | None = Field(default=None, description="Where the redis:// URL is.")
    embedded: EmbeddedRedis | None = Field(default=None, description="Let the operator run a Redis.")


class Sessions(Shape):
    """State that web pods share."""

    redis: Redis | None = Field(default=None, description="Required with more than one replica.")


class Migration(Shape):
    """Database migrations, run before a new version starts."""

    timeout: Duration = Field(default="10m", description="Longest time for the migrations of one version.")


class ProductionReadiness(Shape):
    """The service's own checks, asked of every pod of a new version."""

    treat_as_fail: tuple[CheckName, ...] = Field(
        default=(), max_length=30, description="Checks whose warning also keeps traffic away."
    )


class Gates(Shape):
    """What a new version must pass."""

    production_readiness: ProductionReadiness = Field(
        default=ProductionReadiness(), description="The service's own readiness checks."
    )


class Promotion(Shape):
    """How a new version takes over."""

    gates: Gates = Field(default=Gates(), description="What a new version must pass.")
    min_ready: Duration = Field(default="15s", description="How long each new pod must have been ready.")
    deadline: Duration = Field(default="10m", description="Longest time to start and pass the gates.")


class VolumeDestination(Shape):
    """A volume of its own."""

    size: Bytes = Field(description="Size of the volume, e.g. 20Gi.")


class Destination(Shape):
    """Where backups go."""

    pvc: VolumeDestination = Field(description="A volume next to the service: the same failure domain.")


class Retention(Shape):
    """Which backups are kept."""

    keep_last: int = Field(default=7, ge=1, le=1000, description="The newest so many.")


class Backup(Shape):
    """Backups of the database."""

    schedule: Annotated[str, Field(max_length=100)] = Field(description="Cron expression of five fields.")
    time_zone: Annotated[str, Field(max_length=64)] = Field(
        default="Etc/UTC", description="Time zone of the schedule, e.g. America/Chicago."
    )
    destination: Destination = Field(description="Where backups go.")
    retention: Retention = Field(default=Retention(), description="Which backups are kept.")
    suspend: bool = Field(default=False, description="Make no backups for now.")


class Spec(Shape):
    """What is wanted."""

    image: Image = Field(description="Image of ccl-service.")
    image_pull_secrets: tuple[LocalReference, ...] = Field(
        default=(), max_length=10, description="Secrets with the credentials of the images' registries."
    )
    replicas: int = Field(default=1, ge=1, le=100, description="Web pods; with autoscaling it is set from there.")
    autoscaling: Autoscaling | None = Field(default=None, description="Web pods by load; absent: replicas counts.")
    environment: Literal["development", "staging", "production"] = Field(
        default="production", description="Kind of environment; production has more rules."
    )
    deletion_policy: Literal["Retain", "Delete"] = Field(
        default="Retain", description="Whether data, backups and keys outlive this object (Retain) or go with it."
    )
    paused: bool = Field(default=False, description="Stop acting, keep reporting.")
    http: Http = Field(default=Http(), description="How the service is reached.")
    web: Component = Field(default=Component(), description="Pods that answer requests.")
    jobs: Jobs = Field(default=Jobs(), description="Pods that do the background work.")
    service_account: ServiceAccount = Field(default=ServiceAccount(), description="Identity of the service's own pods.")
    secrets: Secrets = Field(default=Secrets(), description="Keys and credentials.")
    mail: Mail = Field(default=Mail(), description="The sender that people see.")
    database: Database = Field(description="The PostgreSQL that holds everything.")
    sessions: Sessions = Field(default=Sessions(), description="State that web pods share.")
    migration: Migration = Field(default=Migration(), description="Database migrations.")
    promotion: Promotion = Field(default=Promotion(), description="How a new version takes over.")
    backup: Backup | None = Field(default=None, description="Backups; absent: none are made.")
    monitoring: Monitoring | None = Field(default=None, description="Objects of the Prometheus operator; absent: none.")
    network_policy: NetworkPolicy | None = Field(default=None, description="NetworkPolicies; absent: none are made.")


def most_web_pods(spec: Spec) -> int:
    """The most web pods that one revision may have."""
    return max(spec.replicas, spec.autoscaling.max if spec.autoscaling else 0)


class SpecRefused(Exception):
    """The specification does not have the shape of this version; ``problems`` says where and why, in order."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def parse_spec(owner: Manifest) -> Spec:
    """The specification of an object as stored. Raises SpecRefused; no problem quotes a value."""
    try:
        return Spec.model_validate(owner.get("spec", {}))
    except ValidationError as refused:
        raise SpecRefused(tuple(map(_told, refused.errors(include_input=False, include_url=False)))) from None


def _told(error: ErrorDetails) -> str:
    place = ".".join(str(part) for part in error["loc"])
    words = forms.WORDS.get(error.get("ctx", {}).get("pattern", ""))
    return f"spec.{place}: {f'must be {words}' if words else error['msg']}"
