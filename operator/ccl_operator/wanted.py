"""What is wanted of one CclDeployment, settled before anything is built: values, goal, images, refusals. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from ccl_contract.keys import DEPLOYMENT_ID
from ccl_operator import copies, facts, images, inventory, names, pooling, secrets
from ccl_operator.actions import Resource
from ccl_operator.api.rules import violations
from ccl_operator.api.status import Images, Status
from ccl_operator.api.v1alpha1 import Pooler, Spec, SpecRefused, most_web_pods, parse_spec
from ccl_operator.config import Config
from ccl_operator.copies import Values
from ccl_operator.inventory import Inventory
from ccl_operator.manifests import embedded
from ccl_operator.manifests.meta import Target
from ccl_operator.observe import Observed
from ccl_operator.pooling import Demand
from ccl_operator.revision import Revision, render, revision_name, stored
from ccl_operator.rotation import Rotation, rotate

RefusalReason = Literal["InvalidSpec", "SecretsInvalid"]


@dataclass(frozen=True)
class Refusal:
    """Why the specification is not acted on; ends when it, or what it was judged by, changes."""

    reason: RefusalReason
    message: str


@dataclass(frozen=True)
class Credentials:
    """Contents of the Secrets that are the operator's own. ``database``: account and URL of the embedded PostgreSQL,
    empty without one."""

    keys: Mapping[str, str]
    monitor: str
    database: Mapping[str, str]


@dataclass(frozen=True)
class Wanted:
    """``goal`` is None when it is refused or not known yet (``unread`` Secrets); ``revisions`` holds all known ones.

    ``copies``: what each revision keeps of the referenced values, the goal's included; ``today``: what is good of the
    values that the Secrets hold now. ``problems``: what is wrong with secrets. ``demand``: the goal's and the stable
    revision's connections at the database; None without a goal.
    ``drawn``: Secrets whose random content was drawn in this pass. Until it is seen at the API server nothing may be
    derived from it: if it could not be kept, the next pass would draw another and derive something else.
    """

    target: Target
    spec: Spec
    credentials: Credentials
    images: Images
    goal: Revision | None
    revisions: Mapping[str, Revision]
    copies: Mapping[str, Values]
    today: Values
    rotation: Rotation
    refusal: Refusal | None = None
    problems: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    drawn: tuple[str, ...] = ()
    demand: Demand | None = None
    operator_namespace: str = ""
    runbooks_url: str = ""
    served: frozenset[Resource] = frozenset()

    def own_pool(self, revision: str) -> int:
        """Connections that each pod of a revision keeps for itself; 0 behind the pooler."""
        if revision not in self.revisions or self.is_pooled(revision):
            return 0
        return int(self.revisions[revision].env.get("DB_POOL_SIZE", 0))

    def is_pooled(self, revision: str) -> bool:
        """Whether the pods of a revision go through the pooler."""
        return copies.is_pooled(self.target, self.copies.get(revision, {}))


def settle(
    observed: Observed, found: Inventory, status: Status, *, config: Config, entropy: bytes, now: datetime
) -> Wanted | Refusal:
    """Read the specification and all values it needs. A Refusal when it has not even a valid shape, or is refused
    before there is anything to keep up; later on a refused one is a Wanted without a goal."""
    target = Target.of(observed.owner)
    try:
        spec = parse_spec(observed.owner)
    except SpecRefused as refused:
        return Refusal("InvalidSpec", "; ".join(refused.problems))
    chosen = images.choose(found, spec, status, config, target.instance)
    broken = "; ".join(violations(target.instance, spec)) or images.missing(found, spec, chosen, target.instance)
    if broken and status.stable is None:
        return Refusal("InvalidSpec", broken)
    settled = _settled(observed, found, spec, status, broken=broken, entropy=entropy, now=now)
    if settled.refusal is not None and settled.refusal.reason == "InvalidSpec":
        settled = replace(settled, spec=_as_it_stands(spec, found, status, target.instance))
    return replace(
        settled,
        images=chosen,
        operator_namespace=config.operator_namespace,
        runbooks_url=config.runbooks_url,
        served=observed.served,
    )


def _settled(
    observed: Observed, found: Inventory, spec: Spec, status: Status, *, broken: str, entropy: bytes, now: datetime
) -> Wanted:
    """``broken``: why the specification is refused, empty when it is not."""
    target = Target.of(observed.owner)
    present = secrets.decoded(found.get(names.SECRET, names.keys(target.instance)))
    holders = facts.key_holders(found, observed.probes, now)
    rotation = rotate(present, spec, known=status.secrets, held=holders, entropy=entropy, now=now)
    kept = copies.kept(found)
    account = _kept_account(found, target, status, kept)
    database = _database(account, spec, target, entropy)
    drawn = [] if {secrets.HASH_KEY, DEPLOYMENT_ID} <= present.keys() else [names.keys(target.instance)]
    drawn += [names.postgres(target.instance)] if database and "password" not in account else []
    external = secrets.collect(spec, observed.referenced, _embedded_urls(spec, target, database))
    token = secrets.decoded(found.get(names.SECRET, names.monitor(target.instance)))
    monitor = secrets.monitor_token(token, entropy=entropy)
    problems = (*external.problems, *secrets.weak(external.values, rotation.keys, monitor, spec))
    settled = Wanted(
        target=target,
        spec=spec,
        credentials=Credentials(rotation.keys, monitor, database),
        images=Images(),
        goal=None,
        revisions=stored(found.all(names.CONTROLLER_REVISION)),
        copies=kept,
        today=external.values,
        rotation=rotation,
        refusal=_refusal(broken, problems),
        problems=problems,
        unread=external.unread,
        drawn=tuple(drawn),
    )
    return settled if settled.refusal or external.unread or drawn else _with_goal(settled, status)


def _refusal(broken: str, problems: tuple[str, ...]) -> Refusal | None:
    if broken:
        return Refusal("InvalidSpec", broken)
    return Refusal("SecretsInvalid", "; ".join(problems)) if problems else None


def _with_goal(settled: Wanted, status: Status) -> Wanted:
    """The revision that is asked for, unless the stable pods say that their server has no room for it beside them."""
    target, spec, keys = settled.target, settled.spec, settled.credentials.keys
    copy = copies.made(target, settled.today, keys[secrets.HASH_KEY], pooled=spec.database.pooled is not None)
    name = revision_name(spec, secrets.digest(copy, keys[secrets.HASH_KEY]))
    goal = settled.revisions.get(name) or render(target, spec, name, deployment_id=keys[DEPLOYMENT_ID])
    asked = replace(
        settled, goal=goal, revisions={**settled.revisions, name: goal}, copies={name: copy, **settled.copies}
    )
    before = status.stable.revision if status.stable else name
    # The next promotion, too, has to fit: it is between two of the goal's kind.
    demands = (_demand(asked, before, name), _demand(asked, name, name))
    asked = replace(asked, demand=max(demands, key=lambda each: each.total))
    if status.stable is None or status.database is None or asked.demand is None:
        return asked
    short = pooling.shortfall(asked.demand, max_connections=status.database.max_connections)
    return replace(settled, refusal=Refusal("InvalidSpec", short)) if short else asked


def _demand(wanted: Wanted, *pair: str) -> Demand:
    """Of the two revisions that a promotion lets run side by side."""
    spec = wanted.spec
    return pooling.demand(
        [wanted.own_pool(name) for name in pair if not wanted.is_pooled(name)],
        pods=most_web_pods(spec) + spec.jobs.replicas,
        pooler=(spec.database.pooler or Pooler()) if any(map(wanted.is_pooled, pair)) else None,
    )


def _as_it_stands(spec: Spec, found: Inventory, status: Status, instance: str) -> Spec:
    """With as many pods as there are: what is refused changes nothing in what runs."""
    if status.stable is None:
        return spec
    web, jobs = (
        found.get(names.DEPLOYMENT, name(instance, status.stable.revision)) for name in (names.web, names.jobs)
    )
    replicas = inventory.wanted_replicas(web) or status.replicas or 1
    working = spec.jobs.model_copy(update={"replicas": inventory.wanted_replicas(jobs) or 1})
    return spec.model_copy(update={"replicas": replicas, "jobs": working})


def _kept_account(found: Inventory, target: Target, status: Status, kept: Mapping[str, Values]) -> dict[str, str]:
    """Account of the embedded database as it is kept, else recovered from the stable revision's copy."""
    present = secrets.decoded(found.get(names.SECRET, names.postgres(target.instance)))
    if "password" in present or status.stable is None:
        return present
    # Behind a pooler the other URL holds the pooler's password.
    url = copies.read(copies.direct_url(kept.get(status.stable.revision, {})))
    return {**present, "password": url.password} if url is not None and url.password else present


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
