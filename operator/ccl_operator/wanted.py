"""What is wanted of one CclDeployment, settled before anything is built: values, goal, images, refusals. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal
from urllib.parse import urlsplit

from ccl_contract.keys import DEPLOYMENT_ID
from ccl_operator import facts, inventory, names, pooling, secrets
from ccl_operator.actions import Manifest, Resource
from ccl_operator.api.rules import violations
from ccl_operator.api.status import Images, Status
from ccl_operator.api.v1alpha1 import Spec, SpecRefused, most_web_pods, parse_spec
from ccl_operator.api.values import whole_bytes
from ccl_operator.config import Config
from ccl_operator.inventory import Inventory
from ccl_operator.manifests import embedded, pooler
from ccl_operator.manifests.meta import Target
from ccl_operator.observe import Observed
from ccl_operator.revision import Revision, render, revision_name, stored
from ccl_operator.rotation import Rotation, rotate

RefusalReason = Literal["InvalidSpec", "SecretsInvalid"]


@dataclass(frozen=True)
class Refusal:
    """Why the specification is not acted on; ends when it, or a referenced Secret, changes."""

    reason: RefusalReason
    message: str


@dataclass(frozen=True)
class Credentials:
    """Contents of the Secrets. ``database``: account and URL of the embedded PostgreSQL, empty without one;
    ``pooled``: the server's URL behind the pooler, empty without one or while it is not known."""

    keys: Mapping[str, str]
    monitor: str
    database: Mapping[str, str]
    external: Mapping[str, str]
    pooled: str = ""

    @property
    def direct_url(self) -> str:
        """URL of the database itself, past any pooler."""
        return self.external.get("DATABASE_DIRECT_URL") or self.external["DATABASE_URL"]


@dataclass(frozen=True)
class Wanted:
    """``goal`` is None when it is refused or not known yet (``unread`` Secrets); ``revisions`` holds all known ones.

    ``drawn``: Secrets whose random content was drawn in this pass. Until it is seen at the API server nothing may be
    derived from it: if it could not be kept, the next pass would draw another and derive something else.
    """

    target: Target
    spec: Spec
    credentials: Credentials
    images: Images
    goal: Revision | None
    revisions: Mapping[str, Revision]
    rotation: Rotation
    refusal: Refusal | None = None
    unread: tuple[str, ...] = ()
    drawn: tuple[str, ...] = ()
    operator_namespace: str = ""
    runbooks_url: str = ""
    served: frozenset[Resource] = frozenset()


def settle(
    observed: Observed, found: Inventory, status: Status, *, config: Config, entropy: bytes, now: datetime
) -> Wanted | Refusal:
    """Read the specification and all values it needs. A Refusal when it has not even a valid shape."""
    target = Target.of(observed.owner)
    try:
        spec = parse_spec(observed.owner)
    except SpecRefused as refused:
        return Refusal("InvalidSpec", "; ".join(refused.problems))
    broken = violations(target.instance, spec)
    if broken:
        return Refusal("InvalidSpec", "; ".join(broken))
    images = _images(found, spec, status, config, target.instance)
    missing = _missing(found, spec, images, target.instance) or _too_many_connections(spec, status)
    if missing:
        return Refusal("InvalidSpec", missing)
    settled = _settled(observed, found, spec, status, images=images, entropy=entropy, now=now)
    return replace(
        settled,
        operator_namespace=config.operator_namespace,
        runbooks_url=config.runbooks_url,
        served=observed.served,
    )


def _settled(
    observed: Observed, found: Inventory, spec: Spec, status: Status, *, images: Images, entropy: bytes, now: datetime
) -> Wanted:
    target = Target.of(observed.owner)
    present = secrets.decoded(found.get(names.SECRET, names.keys(target.instance)))
    holders = facts.key_holders(found, observed.probes, now)
    rotation = rotate(present, spec, known=status.secrets, held=holders, entropy=entropy, now=now)
    keys = rotation.keys
    kept = _kept_account(found, target, status)
    database = _database(kept, spec, target, entropy)
    drawn = [] if {secrets.HASH_KEY, DEPLOYMENT_ID} <= present.keys() else [names.keys(target.instance)]
    drawn += [names.postgres(target.instance)] if database and "password" not in kept else []
    external = secrets.collect(spec, observed.referenced, _embedded_urls(spec, target, database))
    held = secrets.decoded(found.get(names.SECRET, names.monitor(target.instance)))
    monitor = secrets.monitor_token(held, entropy=entropy)
    problems = (*external.problems, *secrets.weak(external.values, keys, monitor, spec))
    pooled, values = _pooled(spec, target, external.values, keys[secrets.HASH_KEY])
    revisions = stored(found.all(names.CONTROLLER_REVISION))
    goal = None
    if not problems and not external.unread and not drawn:
        name = revision_name(spec, secrets.digest(values, keys[secrets.HASH_KEY]))
        goal = revisions.get(name) or render(target, spec, name, deployment_id=keys[DEPLOYMENT_ID])
        revisions[name] = goal
    return Wanted(
        target=target,
        spec=spec,
        credentials=Credentials(
            keys=keys,
            monitor=monitor,
            database=database,
            external=values,
            pooled=pooled,
        ),
        images=images,
        goal=goal,
        revisions=revisions,
        rotation=rotation,
        refusal=Refusal("SecretsInvalid", "; ".join(problems)) if problems else None,
        unread=external.unread,
        drawn=tuple(drawn),
    )


def _kept_account(found: Inventory, target: Target, status: Status) -> dict[str, str]:
    """Account of the embedded database as it is kept, else recovered from the stable revision's copy."""
    present = secrets.decoded(found.get(names.SECRET, names.postgres(target.instance)))
    if "password" in present or status.stable is None:
        return present
    copy = secrets.decoded(found.get(names.SECRET, names.ext(target.instance, status.stable.revision)))
    # Behind a pooler the other URL holds the pooler's password.
    password = urlsplit(copy.get("DATABASE_DIRECT_URL") or copy.get("DATABASE_URL", "")).password
    return {**present, "password": password} if password else present


def _database(kept: Mapping[str, str], spec: Spec, target: Target, entropy: bytes) -> dict[str, str]:
    """Account and URL of the embedded database: kept, else made; empty without one."""
    if spec.database.embedded is None:
        return {}
    account = secrets.postgres_data(kept, entropy=entropy)
    return {**account, "url": embedded.postgres_url(target, **account)}


def _embedded_urls(spec: Spec, target: Target, database: Mapping[str, str]) -> dict[str, str]:
    urls = {}
    if database:
        urls["DATABASE_URL"] = database["url"]
    if spec.sessions.redis is not None and spec.sessions.redis.embedded is not None:
        urls["REDIS_URL"] = embedded.redis_url(target)
    return urls


def _pooled(spec: Spec, target: Target, values: Mapping[str, str], hash_key: str) -> tuple[str, Mapping[str, str]]:
    """The server's URL behind the pooler, and the values with the service sent to the pooler; past it, what holds
    sessions and locks. An empty URL and the same values without a pooler."""
    url = values.get("DATABASE_URL", "")
    if spec.database.pooled is None or not url:
        return "", values
    direct = {"DATABASE_DIRECT_URL": values.get("DATABASE_DIRECT_URL", url)}
    return url, dict(sorted({**values, **direct, "DATABASE_URL": pooler.client_url(target, hash_key)}.items()))


def _too_many_connections(spec: Spec, status: Status) -> str:
    """Why the pools do not fit the server; empty when they do, or before it has said what it allows."""
    if status.database is None:
        return ""
    return pooling.shortfall(spec, web_pods=most_web_pods(spec), max_connections=status.database.max_connections)


def _images(found: Inventory, spec: Spec, status: Status, config: Config, instance: str) -> Images:
    """The one in use stays, whatever a newer operator would choose: its pods are not to be replaced by an upgrade."""
    postgres = redis = backup = pgbouncer = None
    if spec.database.embedded is not None:
        running = _running_image(found.get(names.STATEFUL_SET, names.postgres(instance)))
        postgres = status.images.postgres or running or config.postgres_images.get(spec.database.embedded.version)
    if spec.sessions.redis is not None and spec.sessions.redis.embedded is not None:
        running = _running_image(found.get(names.STATEFUL_SET, names.redis(instance)))
        redis = status.images.redis or running or config.redis_image or None
    if spec.database.pooled is not None:
        running = _running_image(found.get(names.DEPLOYMENT, names.pgbouncer(instance)))
        pgbouncer = status.images.pgbouncer or running or config.pgbouncer_image or None
    if spec.backup is not None and status.database is not None:
        backup = config.backup_images.get(status.database.version_num // 10_000)
    return Images(postgres=postgres, redis=redis, pgbouncer=pgbouncer, backup=backup)


def _running_image(workload: Manifest | None) -> str | None:
    return None if workload is None else str(workload["spec"]["template"]["spec"]["containers"][0]["image"])


def _missing(found: Inventory, spec: Spec, images: Images, instance: str) -> str:
    """Why an embedded server cannot be run; empty when it can."""
    database = spec.database.embedded
    if database is not None:
        if images.postgres is None:
            return f"database.embedded.version: the operator has no image for PostgreSQL {database.version}"
        volume = found.get(names.VOLUME_CLAIM, names.postgres_volume(instance))
        held = inventory.label(volume, names.POSTGRES_VERSION_LABEL) if volume else None
        if held is not None and held != str(database.version):
            return (
                f"database.embedded.version: the kept volume {names.postgres_volume(instance)} holds PostgreSQL {held}"
            )
    if spec.backup is not None:
        kept = found.get(names.VOLUME_CLAIM, names.backups(instance))
        size = kept["spec"]["resources"]["requests"]["storage"] if kept is not None else None
        if size is not None and whole_bytes(spec.backup.destination.pvc.size) > whole_bytes(size):
            return f"backup.destination.pvc.size: the kept volume {names.backups(instance)} has {size}"
    if spec.sessions.redis is not None and spec.sessions.redis.embedded is not None and images.redis is None:
        return "sessions.redis.embedded: the operator has no image for it"
    if spec.database.pooled is not None and images.pgbouncer is None:
        return "database.pooler: the operator has no image for it"
    return ""
