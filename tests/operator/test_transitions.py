"""Whatever way a specification came about, on a real API server: the objects in the end are those of a fresh start.

Changes are drawn with a fixed seed, and follow each other before the operator is through with the last.
"""

import random
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from ccl_operator import names
from tests.operator.conftest import SPEC, Place
from tests.operator.kubernetes_api import Json
from tests.operator.operator_process import until
from tests.operator.test_crashes import Chain, comparable, difference, in_chains, of_any_image

REDIS: Final = {"redis": {"embedded": {}}}
TEMPLATE: Final = {"labels": {"team": "loans"}, "tolerations": [{"operator": "Exists"}]}
#: As merge patches. Every one leads from any specification that is taken to another.
CHANGES: Final[tuple[Json, ...]] = (
    {"replicas": 3, "sessions": REDIS},
    {"replicas": 1, "autoscaling": None, "sessions": {"redis": None}},
    {"autoscaling": {"min": 1, "max": 4}, "sessions": REDIS},
    {"autoscaling": None},
    {"database": {"pooler": {"poolSize": 5}}},
    {"database": {"pooler": {"enabled": False}}},
    {"database": {"pooler": None}},
    {"http": {"host": "loans.example.com", "ingressClassName": "nginx"}},
    {"http": {"host": None, "ingressClassName": None}},
    {"networkPolicy": {"enabled": True}},
    {"networkPolicy": {"enabled": False}},
    {"web": {"extraEnv": [{"name": "LOG_LEVEL", "value": "info"}]}},
    {"web": {"extraEnv": None, "template": TEMPLATE}},
    {"web": {"template": None}},
    {"jobs": {"replicas": 2, "template": TEMPLATE}},
    {"jobs": {"replicas": None, "template": None}},
    {"backup": {"schedule": "30 3 * * *"}},
    {"backup": {"schedule": SPEC["backup"]["schedule"]}},
    {"deletionPolicy": "Delete"},
    {"deletionPolicy": "Retain"},
    {"environment": "development"},
    {"environment": "staging"},
)
#: For each of three chains.
DRAWN: Final = 17


def test_any_way_to_a_specification_ends_in_the_objects_of_a_fresh_start(make_place: Callable[[], Place]) -> None:
    def travel(chain: Chain, number: int) -> list[str]:
        draw = random.Random(number)
        changes = draw.sample(CHANGES, DRAWN)
        place = chain.place
        chain.create()
        for change in changes:
            change_by(chain, change)
        # Whoever starts now sees the last specification only.
        chain.start()
        chain.settle()
        wanted = of_any_image(comparable(place))
        chain.clear()
        chain.create()
        for change in changes:
            for _ in range(draw.randint(0, 3)):
                chain.is_settled()
            change_by(chain, change)
        chain.settle()
        with suppress(AssertionError):
            until("the same", lambda: chain.is_alone() and not told(wanted, place), timeout=90)
        return [found] if (found := told(wanted, place)) else []

    assert in_chains(make_place, travel) == []


def change_by(chain: Chain, change: Json) -> None:
    chain.place.api.patch(names.OWNER, chain.place.namespace, "ccl", {"spec": change})


def told(wanted: list[Json], place: Place) -> str:
    return difference(wanted, of_any_image(comparable(place)), after=DRAWN)
