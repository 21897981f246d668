"""An operator with nothing to do writes nothing."""

import asyncio
import time
from datetime import UTC, datetime
from functools import partial

from ccl_operator import names
from ccl_operator.actions import Apply, Key
from ccl_operator.config import Config
from ccl_operator.observe import observe
from ccl_operator.plan import plan
from ccl_operator.runtime import credentials
from ccl_operator.runtime.cache import Cache
from ccl_operator.runtime.client import Client
from ccl_operator.runtime.drift import drift
from ccl_operator.runtime.metrics import Metrics
from hack.cluster.apiserver import OPERATOR
from tests.operator.conftest import Place
from tests.operator.operator_process import IMAGES, OperatorProcess, until


def test_applying_every_child_again_changes_nothing(place: Place) -> None:
    operator = place.start_operator()
    place.create()
    place.promote()
    assert operator.stop() == 0
    contents = place.contents()
    # The API server counts the first apply to an existing claim, though it changes nothing in it: that one is let pass.
    asyncio.run(_apply_all_again(place))
    before = place.children()
    applies = asyncio.run(_apply_all_again(place))
    # The migration's Job is of the past: it is not wanted any more, and its time to live takes it.
    wanted = {child for child in before if child[0] != names.JOB.kind}
    assert {(one.resource.kind, one.manifest["metadata"]["name"]) for one in applies} == wanted
    assert place.children() == before
    assert place.contents() == contents


async def _apply_all_again(place: Place) -> tuple[Apply, ...]:
    """Apply what the plan wants, every child, and see that our own comparison agrees that nothing differs."""
    configuration = await credentials.load({"KUBECONFIG": str(place.server.kubeconfig_for(OPERATOR.name))})
    async with Client(configuration, Metrics(), time.monotonic) as client:
        cache = Cache()
        for resource in (each for each in names.CHILDREN if each not in names.OPTIONAL):
            await client.list(resource, place.namespace, each=partial(cache.put_child, resource))
        cache.put_owner(place.owner())
        observed = observe(cache, Key(place.namespace, "ccl"))
        assert observed is not None
        wanted = plan(observed, now=datetime.now(UTC), config=Config.from_environment(IMAGES), entropy=bytes(256))
        for one in wanted.applies:
            live = cache.child(one.resource, place.namespace, one.manifest["metadata"]["name"])
            assert live is not None
            assert drift(one.manifest, live) == ()
            await client.apply(one.resource, one.manifest)
        return wanted.applies


def test_a_restarted_operator_with_nothing_to_do_makes_no_write(place: Place) -> None:
    first = place.start_operator()
    place.create()
    place.promote()
    _settled(place, first)
    assert first.stop() == 0
    before = place.writes()
    assert before
    second = place.start_operator()
    _settled(place, second)
    assert place.writes() == before


def _settled(place: Place, operator: OperatorProcess) -> None:
    """Both pods have answered, and the object was looked at afterwards and left as it is."""
    until("all pods have been asked", lambda: operator.metric('ccl_operator_probes_total{outcome="report"}') >= 2)
    unchanged = 'ccl_operator_reconcile_seconds_count{outcome="unchanged"}'
    seen = operator.metric(unchanged)
    place.api.patch(names.SERVICE, place.namespace, "ccl", {"metadata": {"annotations": {"example.com/n": str(seen)}}})
    until("a pass has found nothing to do", lambda: operator.metric(unchanged) > seen)
