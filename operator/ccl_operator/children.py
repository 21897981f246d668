"""Which children there are to be at this point of the rollout, and which are to go. Pure.

Order matters where a later object names an earlier one; pods that start before their Secret would only wait.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ccl_operator import copies, inventory, names, secrets, surroundings
from ccl_operator import facts as read
from ccl_operator.actions import Apply, Delete, Manifest, Resource
from ccl_operator.api.values import seconds
from ccl_operator.inventory import Inventory
from ccl_operator.manifests import backup, credentials, embedded, migrate, network, pooler, service_pods
from ccl_operator.revision import Revision, controller_revision, next_number
from ccl_operator.rollout import Facts, State
from ccl_operator.wanted import Wanted

#: ControllerRevisions kept beside those in use.
HISTORY: Final = 10
_RUNNING: Final = frozenset({"Starting", "Checking", "Switching"})
_BY_REVISION: Final[tuple[Resource, ...]] = (
    names.DEPLOYMENT,
    names.DISRUPTION_BUDGET,
    names.CONFIG_MAP,
    names.SECRET,
    names.JOB,
)


@dataclass(frozen=True)
class Roles:
    """Who plays which part now. ``traffic``: the revision that the Service selects; ``working``: whose jobs run."""

    stable: str | None
    candidate: str | None
    candidate_runs: bool
    traffic: str | None
    working: str | None

    @classmethod
    def of(cls, state: State, facts: Facts) -> "Roles":
        """Old jobs go first; only when they are gone, traffic and background work move together."""
        stable = state.stable.revision if state.stable else None
        candidate = state.candidate.revision if state.candidate else None
        switching = state.rollout.phase == "Switching"
        moved = switching and facts.old_jobs_gone
        return cls(
            stable=stable,
            candidate=candidate,
            candidate_runs=state.rollout.phase in _RUNNING,
            traffic=candidate if moved else stable,
            working=(candidate if moved else None) if switching else stable,
        )


def applies(wanted: Wanted, found: Inventory, state: State, facts: Facts) -> tuple[Apply, ...]:
    """Everything that is to exist, in the order of writing; names held by remains of an earlier object are left out."""
    roles = Roles.of(state, facts)
    every = [
        *_credentials(wanted, found),
        *surroundings.identity(wanted, found, roles.stable),
        *_embedded(wanted, found, state),
        *_pooler(wanted, found, state),
        *_services(wanted, roles),
        *_revisions(wanted, found, roles),
        *_migration(wanted, state, roles),
        *_deployments(wanted, roles),
        *_backups(wanted, found, roles),
        *surroundings.applies(wanted, state),
    ]
    return _free(every, found)


def drawn(wanted: Wanted, found: Inventory) -> tuple[Apply, ...]:
    """Only the Secrets with random content: what is derived from them follows when they are there."""
    return _free(_credentials(wanted, found), found)


def _free(applies: Iterable[Apply], found: Inventory) -> tuple[Apply, ...]:
    return tuple(each for each in applies if (each.resource, inventory.name_of(each.manifest)) not in found.remains)


def _credentials(wanted: Wanted, found: Inventory) -> Iterator[Apply]:
    """Drawn at random, so only made when missing; what is there is applied as it is, to repair its labels, and never
    over something newer."""
    values = wanted.credentials
    built = [
        credentials.keys(wanted.target, values.keys),
        credentials.monitor(wanted.target, values.monitor),
    ]
    if values.database:
        built.append(credentials.postgres(wanted.target, values.database))
    for manifest in built:
        known = found.get(names.SECRET, inventory.name_of(manifest))
        version = known["metadata"]["resourceVersion"] if known is not None else ""
        yield Apply(names.SECRET, manifest, once=known is None, resource_version=version)


def _embedded(wanted: Wanted, found: Inventory, state: State) -> Iterator[Apply]:
    target, images = wanted.target, wanted.images
    database = wanted.spec.database.embedded
    if database is not None and images.postgres and _may_run(wanted, found, state, names.postgres(target.instance)):
        yield Apply(names.SERVICE, embedded.service(target, names.POSTGRES))
        yield Apply(names.STATEFUL_SET, embedded.postgres(target, database, images.postgres))
    redis = wanted.spec.sessions.redis and wanted.spec.sessions.redis.embedded
    if redis and images.redis and _may_run(wanted, found, state, names.redis(target.instance)):
        yield Apply(names.SERVICE, embedded.service(target, names.REDIS))
        yield Apply(names.STATEFUL_SET, embedded.redis(target, redis, images.redis))


def _pooler(wanted: Wanted, found: Inventory, state: State) -> Iterator[Apply]:
    """For all revisions in use that go through it, as each was proven: what is asked for now may be refused."""
    target, asked, image = wanted.target, wanted.spec.database.pooler, wanted.images.pgbouncer
    in_use = [wanted.copies[name] for name in state.in_use if name in wanted.copies]
    routes = copies.routes(target, in_use, wanted.today)
    if asked is None or not image or not routes:
        return
    present = found.get(names.SECRET, names.pgbouncer(target.instance)) is not None
    known = "DATABASE_URL" in wanted.today and len(in_use) == len(state.in_use)
    if known or not present:
        hash_key = wanted.credentials.keys[secrets.HASH_KEY]
        yield Apply(names.SECRET, pooler.secret(target, asked, routes, hash_key))
    yield Apply(names.SERVICE, pooler.service(target))
    yield Apply(names.DEPLOYMENT, pooler.deployment(target, asked, image))
    budget = pooler.disruption_budget(target, asked)
    if budget is not None:
        yield Apply(names.DISRUPTION_BUDGET, budget)


def _may_run(wanted: Wanted, found: Inventory, state: State, name: str) -> bool:
    """A refusal keeps the first pods from being made; what a stable revision relies on is kept and comes back."""
    return wanted.refusal is None or state.stable is not None or found.get(names.STATEFUL_SET, name) is not None


def _services(wanted: Wanted, roles: Roles) -> Iterator[Apply]:
    target = wanted.target
    yield Apply(names.SERVICE, network.service(target, names.stable_service(target.instance), roles.traffic))
    # Before its pods exist, so that the Service of a new object is not written again when they come.
    yield Apply(names.SERVICE, network.service(target, names.preview_service(target.instance), roles.candidate))


def _in_use(wanted: Wanted, roles: Roles) -> list[Revision]:
    """Stable and candidate, each once, as far as their templates are known."""
    wanted_names = dict.fromkeys(name for name in (roles.stable, roles.candidate) if name is not None)
    return [wanted.revisions[name] for name in wanted_names if name in wanted.revisions]


def _revisions(wanted: Wanted, found: Inventory, roles: Roles) -> Iterator[Apply]:
    target = wanted.target
    for revision in _in_use(wanted, roles):
        yield Apply(names.CONFIG_MAP, credentials.env(target, revision.name, revision.env), once=True)
        if revision.name in wanted.copies:
            # A copy that was lost is at hand only when today's values are the same.
            copy = wanted.copies[revision.name]
            yield Apply(names.SECRET, credentials.ext(target, revision.name, copy), once=True)
        manifests = found.all(names.CONTROLLER_REVISION)
        present = found.get(names.CONTROLLER_REVISION, names.controller_revision(target.instance, revision.name))
        number = int(present["revision"]) if present is not None else next_number(manifests)
        yield Apply(names.CONTROLLER_REVISION, controller_revision(target, revision, number=number), once=True)


def _migration(wanted: Wanted, state: State, roles: Roles) -> Iterator[Apply]:
    if state.rollout.phase == "Migrating" and roles.candidate is not None:
        timeout = seconds(wanted.spec.migration.timeout)
        attempt = state.rollout.generation or 0
        job = migrate.job(
            wanted.target,
            roles.candidate,
            state.rollout.image,
            attempt=attempt,
            timeout_seconds=timeout,
            placed=wanted.spec.jobs.template,
        )
        yield Apply(names.JOB, job, once=True)


def _deployments(wanted: Wanted, roles: Roles) -> Iterator[Apply]:
    for revision in _in_use(wanted, roles):
        if revision.name == roles.candidate and not roles.candidate_runs and revision.name != roles.stable:
            continue
        working = wanted.spec.jobs.replicas if revision.name == roles.working else 0
        for component, replicas in ((names.WEB, wanted.spec.replicas), (names.JOBS, working)):
            template = revision.template(component)
            built = service_pods.deployment(wanted.target, component, revision.name, template, replicas=replicas)
            yield Apply(names.DEPLOYMENT, built)
        budget = network.disruption_budget(wanted.target, revision.name, replicas=wanted.spec.replicas)
        if budget is not None:
            yield Apply(names.DISRUPTION_BUDGET, budget)


def _backups(wanted: Wanted, found: Inventory, roles: Roles) -> Iterator[Apply]:
    spec, target = wanted.spec.backup, wanted.target
    if spec is None:
        return
    present = found.get(names.VOLUME_CLAIM, names.backups(target.instance))
    size = present["spec"]["resources"]["requests"]["storage"] if present is not None else None
    yield Apply(names.VOLUME_CLAIM, backup.volume(target, spec, present_size=size))
    if roles.stable is not None and wanted.images.backup:
        placed = wanted.spec.jobs.template
        yield Apply(names.CRON_JOB, backup.cron_job(target, spec, image=wanted.images.backup, placed=placed))


def deletes(wanted: Wanted, found: Inventory, state: State) -> tuple[Delete, ...]:
    """What is to go: revisions that nobody needs, and parts that are no longer asked for."""
    kept = set(state.in_use)
    doomed = [
        (resource, manifest)
        for resource in _BY_REVISION
        for manifest in found.all(resource)
        if _superfluous(wanted, resource, manifest, kept, state)
    ]
    doomed += _not_asked_for(wanted, found, state)
    doomed += surroundings.superfluous(wanted, found, state)
    doomed += [(names.CONTROLLER_REVISION, each) for each in _old_history(found.all(names.CONTROLLER_REVISION), kept)]
    uid = wanted.target.uid
    return tuple(_delete(resource, manifest) for resource, manifest in doomed if _may_go(manifest, uid))


def _may_go(manifest: Manifest, uid: str) -> bool:
    """Whatever goes was made with our owner reference; without it, the labels alone may be somebody's copy."""
    return not inventory.terminating(manifest) and inventory.owned_by(manifest, uid)


def _superfluous(wanted: Wanted, resource: Resource, manifest: Manifest, kept: set[str], state: State) -> bool:
    revision = inventory.label(manifest, names.REVISION_LABEL)
    if revision is None:
        return False
    if resource == names.JOB and revision == state.rollout.revision:
        # The Job of an aborted rollout stays for its logs, until the next attempt needs the name.
        return read.is_earlier_attempt(manifest, state.rollout) and read.is_finished(manifest)
    if resource == names.DISRUPTION_BUDGET and wanted.spec.replicas < 2:
        return True
    return revision not in kept


def _not_asked_for(wanted: Wanted, found: Inventory, state: State) -> list[tuple[Resource, Manifest]]:
    instance, spec = wanted.target.instance, wanted.spec
    gone: list[tuple[Resource, str]] = []
    if spec.backup is None:
        gone.append((names.CRON_JOB, names.backup(instance)))
    settled = wanted.goal is not None and state.stable is not None and state.stable.revision == wanted.goal.name
    if settled and not state.rollout.retiring and wanted.images.redis is None:
        # Not earlier: until the switch the stable revision still counts in it.
        gone += [(names.STATEFUL_SET, names.redis(instance)), (names.SERVICE, names.redis(instance))]
    if settled and not any(map(wanted.is_pooled, state.in_use)) and spec.database.pooled is None:
        kinds = (names.DEPLOYMENT, names.SERVICE, names.DISRUPTION_BUDGET, names.SECRET)
        gone += [(kind, names.pgbouncer(instance)) for kind in kinds]
    if spec.database.pooler is not None and spec.database.pooler.replicas < 2:
        gone.append((names.DISRUPTION_BUDGET, names.pgbouncer(instance)))
    present = [(resource, found.get(resource, name)) for resource, name in gone]
    return [(resource, manifest) for resource, manifest in present if manifest is not None]


def _old_history(manifests: Sequence[Manifest], kept: set[str]) -> list[Manifest]:
    others = [each for each in manifests if inventory.label(each, names.REVISION_LABEL) not in kept]
    newest_first = sorted(others, key=_number, reverse=True)
    return newest_first[HISTORY:]


def _number(manifest: Mapping[str, Any]) -> int:
    return int(manifest.get("revision", 0))


def _delete(resource: Resource, manifest: Manifest) -> Delete:
    metadata = manifest["metadata"]
    return Delete(resource, metadata["name"], metadata["uid"], metadata["resourceVersion"])
