"""Whatever text a Secret holds: a pass ends, and says nothing of it."""

import base64
import copy
from typing import Any, Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ccl_operator import names
from tests.unit.operator.samples import SPEC, secret
from tests.unit.operator.simulated_cluster import SimulatedCluster

MARK: Final = "hunter2"
#: What has a meaning in a URL, a key file or a configuration, in any order, with a piece that must never be seen.
PIECES: Final = st.sampled_from(
    (
        *("postgresql://", "postgres://", "redis://", "https://", "u", ":", "@", MARK, "/", "?", "#", "[", "]", "%"),
        *("%00", "%0a", "h1:5432", ",h2", ":99999", ":0", "sslmode=", "options=", "host=", "port=", "&", "=", "\u2100"),
        *("\n", "\x00", " ", "'", '"', "{", "}", '{"v":1,"keys":[', "é", "0" * 32),
    )
)
TEXTS: Final = st.lists(PIECES, max_size=12).map("".join) | st.text(max_size=80)
SELECTOR: Final = {"secretKeyRef": {"name": "own", "key": "value"}}
SELECTOR_OF: Final = {
    key: {"secretKeyRef": {"name": "own", "key": key}} for key in ("url", "jwt", "session", "internalApiKey")
}
DATABASE: Final = {"urlFrom": SELECTOR}
#: Where the text is taken for what.
PLACES: Final[dict[str, dict[str, Any]]] = {
    "database": {"database": DATABASE},
    "pooled": {"database": {**DATABASE, "pooler": {}}},
    "replicas and direct": {"database": {**DATABASE, "directUrlFrom": SELECTOR, "replicaUrlsFrom": SELECTOR}},
    "redis": {"sessions": {"redis": {"urlFrom": SELECTOR}}},
    "keys": {"secrets": {**SPEC["secrets"], "jwt": SELECTOR, "session": SELECTOR, "internalApiKey": SELECTOR}},
    "accounts": {"secrets": {**SPEC["secrets"], "sentry": {"secretRef": "account"}}},
}


def encoded(text: str) -> str:
    return base64.b64encode(text.encode("utf-8", "surrogatepass")).decode()


def told(cluster: SimulatedCluster) -> str:
    """What anybody may read: the status, the events, and every object that is no Secret."""
    readable = [each for (resource, _), each in cluster.objects.items() if resource != names.SECRET]
    return str([cluster.status, cluster.events, readable])


@pytest.mark.parametrize("place", PLACES)
@settings(max_examples=40, deadline=None, derandomize=True)
@given(text=TEXTS)
@example(f"postgresql://u:{MARK}@h:99999/d")
@example(f"postgresql://h1:5432,h2:5432/{MARK}")
@example(f"postgresql://u:{MARK}[x@h/d")
@example(f"postgresql://user:{MARK}/x@h/d")
@example(f"postgresql://u:{MARK}\u2100@h/d")
@example("postgresql://")
@example(f"postgresql://u:{MARK}@h/d")
def test_no_text_keeps_a_pass_from_its_end_or_is_told(place: str, text: str) -> None:
    cluster = SimulatedCluster(spec={**SPEC, "networkPolicy": {}, **PLACES[place]})
    cluster.referenced |= {
        "own": {"metadata": {}, "data": {"value": encoded(text)}},
        "account": {"metadata": {}, "data": {"SENTRY_DSN": encoded(text)}},
    }
    for _ in range(6):
        cluster.reconcile()
        cluster.controllers()
    assert MARK not in told(cluster)


@pytest.fixture(scope="module")
def running() -> SimulatedCluster:
    """Promoted behind a pooler, with everything that can be referenced taken from one Secret."""
    secrets = {name: SELECTOR_OF[name] for name in ("jwt", "session", "internalApiKey")}
    cluster = SimulatedCluster(
        spec={
            **SPEC,
            "networkPolicy": {},
            "database": {"urlFrom": SELECTOR_OF["url"], "pooler": {}},
            "secrets": {**SPEC["secrets"], **secrets},
        }
    )
    cluster.referenced["own"] = secret(
        url="postgresql://u:p@h/d", jwt="j" * 32, session="s" * 32, internalApiKey="i" * 32
    )
    cluster.run()
    assert cluster.condition("Promoted") == ("True", "Promoted")
    return cluster


@settings(max_examples=60, deadline=None, derandomize=True)
@given(text=TEXTS, key=st.sampled_from(["url", "jwt", "session", "internalApiKey"]))
def test_no_text_in_place_of_a_good_one_keeps_the_stable_revision_from_being_kept_up(
    running: SimulatedCluster, text: str, key: str
) -> None:
    cluster = copy.deepcopy(running)
    good = cluster.referenced["own"]
    assert good is not None
    cluster.referenced["own"] = {"metadata": {}, "data": {**good["data"], key: encoded(text)}}
    del cluster.objects[names.SERVICE, "ccl"]
    cluster.reconcile()
    assert (names.SERVICE, "ccl") in cluster.objects
    assert MARK not in told(cluster)
