"""A revision's copy of the referenced values: what stands in it, and how its pods reach their database. Pure.

What the Secrets hold today may be refused or unproven; a revision in use keeps what it was proven with. Only a new
password of the same account is taken from today, because the old one has usually ended at the server.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from ccl_contract.urls import POSTGRES, ServerUrl, UrlRefused, parse_url
from ccl_operator import inventory, names, secrets
from ccl_operator.environment import POOLED_SERVER
from ccl_operator.inventory import Inventory
from ccl_operator.manifests import pooler
from ccl_operator.manifests.meta import Target
from ccl_operator.manifests.pooler import Route

Values = Mapping[str, str]


def made(target: Target, today: Values, hash_key: str, *, pooled: bool) -> Values:
    """The copy of a new revision. Behind a pooler the service is sent there, and past it, what holds sessions and
    locks."""
    url = today.get("DATABASE_URL", "")
    server = read(url)
    if not pooled or server is None:
        return today
    urls = {
        "DATABASE_URL": pooler.client_url(target, hash_key, server),
        "DATABASE_DIRECT_URL": today.get("DATABASE_DIRECT_URL", url),
        POOLED_SERVER: url,
    }
    return dict(sorted({**today, **urls}.items()))


def kept(found: Inventory) -> dict[str, Values]:
    """The copies that are there, by revision."""
    copies = {inventory.label(each, names.REVISION_LABEL): each for each in found.all(names.SECRET)}
    return {revision: secrets.decoded(each) for revision, each in copies.items() if revision is not None}


def is_pooled(target: Target, copy: Values) -> bool:
    """Whether the pods with this copy go through the pooler."""
    return pooler.is_client_url(target, copy.get("DATABASE_URL", ""))


def routes(target: Target, copies: Iterable[Values], today: Values) -> tuple[Route, ...]:
    """The ways through the pooler of the revisions with these copies, in their order."""
    found = []
    for copy in copies:
        if not is_pooled(target, copy):
            continue
        client = read(copy["DATABASE_URL"])
        server = read(_latest(copy.get(POOLED_SERVER) or direct_url(copy), today.get("DATABASE_URL", "")))
        if client is not None and server is not None and not pooler.unfit(server):
            found.append(Route(client, server))
    return tuple(found)


def direct_url(copy: Values) -> str:
    """URL of the database itself, past any pooler; empty when the copy names none."""
    return copy.get("DATABASE_DIRECT_URL") or copy.get("DATABASE_URL", "")


def latest_direct_url(copy: Values, today: Values) -> str:
    """The same with today's password."""
    return _latest(direct_url(copy), direct_url(today))


def _latest(kept_url: str, today: str) -> str:
    """Today's URL when it differs from the kept one in its password alone, else the kept one."""
    ours, theirs = read(kept_url), read(today)
    if ours is None or theirs is None or replace(theirs, password=ours.password) != ours:
        return kept_url
    return today


def read(url: str) -> ServerUrl | None:
    """A database's URL in its parts; None when it is in doubt."""
    try:
        return parse_url(url, *POSTGRES)
    except UrlRefused:
        return None
