"""The self-check asks for every permission, a few questions at a time."""

import asyncio
from typing import Any, cast

from ccl_operator.actions import Manifest, Resource
from ccl_operator.runtime.access import AT_ONCE, missing
from ccl_operator.runtime.client import Client
from ccl_operator.runtime.rbac import PERMISSIONS


class Reviewer:
    """Allows everything but deleting Secrets; counts the questions that wait."""

    def __init__(self) -> None:
        self.asked = self.waiting = self.most = 0

    async def create(self, _: Resource, __: str | None, review: Manifest) -> dict[str, Any]:
        self.asked += 1
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        await asyncio.sleep(0)
        self.waiting -= 1
        attributes = review["spec"]["resourceAttributes"]
        return {"status": {"allowed": (attributes["resource"], attributes["verb"]) != ("secrets", "delete")}}


async def test_every_permission_is_asked_for_and_what_is_lacking_is_told() -> None:
    reviewer = Reviewer()
    found = await missing(cast(Client, reviewer), ["loans"], lease_namespace="ccl-system", lease="ccl-operator")
    assert [str(each) for each in found] == ["delete secrets of the core API group in namespace loans"]
    assert reviewer.asked == sum(len(one.verbs) for one in PERMISSIONS) + len(("create", "get", "update"))


async def test_no_more_questions_than_a_few_wait_at_once() -> None:
    reviewer = Reviewer()
    await missing(cast(Client, reviewer), ["a", "b"], lease_namespace="ccl-system", lease="ccl-operator")
    assert reviewer.most == AT_ONCE
