"""Which images run beside the service's own, and what is missing for what is asked for. Pure."""

from ccl_operator import inventory, names
from ccl_operator.actions import Manifest
from ccl_operator.api.status import Images, Status
from ccl_operator.api.v1alpha1 import Spec
from ccl_operator.api.values import whole_bytes
from ccl_operator.config import Config
from ccl_operator.inventory import Inventory


def choose(found: Inventory, spec: Spec, status: Status, config: Config, instance: str) -> Images:
    """The one in use stays, whatever a newer operator would choose: its pods are not to be replaced by an upgrade."""
    postgres = redis = backup = None
    if spec.database.embedded is not None:
        running = _running(found.get(names.STATEFUL_SET, names.postgres(instance)))
        postgres = status.images.postgres or running or config.postgres_images.get(spec.database.embedded.version)
    if spec.sessions.redis is not None and spec.sessions.redis.embedded is not None:
        running = _running(found.get(names.STATEFUL_SET, names.redis(instance)))
        redis = status.images.redis or running or config.redis_image or None
    # A pooler that is asked for no more runs on until nobody goes through it.
    pgbouncer = _running(found.get(names.DEPLOYMENT, names.pgbouncer(instance)))
    if spec.database.pooled is not None:
        pgbouncer = status.images.pgbouncer or pgbouncer or config.pgbouncer_image or None
    if spec.backup is not None and status.database is not None:
        backup = config.backup_images.get(status.database.version_num // 10_000)
    return Images(postgres=postgres, redis=redis, pgbouncer=pgbouncer, backup=backup)


def missing(found: Inventory, spec: Spec, images: Images, instance: str) -> str:
    """Why what is asked for cannot be had: no image, or a kept volume that does not fit it. Empty when all can."""
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


def _running(workload: Manifest | None) -> str | None:
    return None if workload is None else str(workload["spec"]["template"]["spec"]["containers"][0]["image"])
