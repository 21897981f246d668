"""Self-check at start: does the ServiceAccount have what ``rbac`` says? One 403 on a watched kind would stop kopf with
a message about a URL; here the missing permission is named."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ccl_operator.runtime.client import Client
from ccl_operator.runtime.rbac import (
    LEASE,
    LEASE_CREATED,
    LEASE_KEPT,
    PERMISSIONS,
    SELF_ACCESS_REVIEW,
    WATCHED,
    Permission,
)

#: Each question that waits for its answer has a connection to itself, and room for its buffers is never given back.
AT_ONCE: Final = 8


@dataclass(frozen=True)
class Missing:
    """One verb on one resource in one namespace (None: in all). ``vital``: the operator cannot work at all without."""

    verb: str
    plural: str
    group: str
    namespace: str | None

    @property
    def vital(self) -> bool:
        """Whether the operator would be blind without it."""
        return self.verb in WATCHED or self.plural == LEASE.plural

    def __str__(self) -> str:
        group = f'"{self.group}"' if self.group else "the core API group"
        where = f"namespace {self.namespace}" if self.namespace else "all namespaces"
        return f"{self.verb} {self.plural} of {group} in {where}"


async def missing(
    client: Client, namespaces: Sequence[str], *, lease_namespace: str, lease: str
) -> tuple[Missing, ...]:
    """Every permission that is not there, in the order of the table. Raises TryLater."""
    scopes: Sequence[str | None] = namespaces or (None,)
    questions = [(one, verb, scope, "") for scope in scopes for one in PERMISSIONS for verb in one.verbs]
    questions += [(LEASE_CREATED, verb, lease_namespace, "") for verb in LEASE_CREATED.verbs]
    questions += [(LEASE_KEPT, verb, lease_namespace, lease) for verb in LEASE_KEPT.verbs]
    free = asyncio.Semaphore(AT_ONCE)

    async def ask(one: Permission, verb: str, namespace: str | None, name: str) -> bool:
        async with free:
            return await _allowed(client, one, verb, namespace, name)

    answers = await asyncio.gather(*(ask(*question) for question in questions))
    return tuple(
        Missing(verb, one.plural, one.resource.group, scope)
        for (one, verb, scope, _), allowed in zip(questions, answers, strict=True)
        if not allowed
    )


async def _allowed(client: Client, permission: Permission, verb: str, namespace: str | None, name: str) -> bool:
    attributes = {
        "group": permission.resource.group,
        "resource": permission.resource.plural,
        "verb": verb,
    }
    if permission.subresource:
        attributes["subresource"] = permission.subresource
    if name:
        attributes["name"] = name
    if namespace:
        attributes["namespace"] = namespace
    review = {
        "apiVersion": SELF_ACCESS_REVIEW.api_version,
        "kind": SELF_ACCESS_REVIEW.kind,
        "spec": {"resourceAttributes": attributes},
    }
    answer = await client.create(SELF_ACCESS_REVIEW, None, review)
    return bool(answer["status"].get("allowed"))
