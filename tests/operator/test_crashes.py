"""An operator that is killed after any of its writes leaves nothing that the next one does not put right.

Every write of an undisturbed run is tried; the objects in the end are compared with those of that run.
"""

import base64
import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ccl_contract.keys import KeyFile, KeyState
from ccl_operator import names
from ccl_operator.environment import KEY_FILES
from ccl_operator.runtime import rbac
from hack.cluster.apiserver import OPERATOR
from tests.operator.conftest import Place
from tests.operator.counting_proxy import CountingProxy
from tests.operator.kubernetes_api import Json
from tests.operator.operator_process import OperatorProcess, until

SPEC: Json = {"promotion": {"minReady": "0s"}}
#: Chains that work side by side: most of the time is the start of processes.
AT_ONCE = 3
#: Far more than any change takes.
MOST = 200
#: Kinds that every API server has.
MADE = tuple(resource for resource in names.CHILDREN if resource not in names.OPTIONAL)
VOLATILE = ("resourceVersion", "uid", "creationTimestamp", "managedFields", "generation")


def comparable(place: Place) -> list[Json]:
    """What the operator has made, without what differs from run to run: identities, moments, random values."""
    revision = place.owner()["status"]["stable"]["revision"]
    found = []
    for item in place.written_children():
        if item["metadata"]["labels"].get(names.REVISION_LABEL, revision) != revision:
            # A predecessor stays for half a minute after the switch.
            continue
        metadata = {key: value for key, value in item["metadata"].items() if key not in VOLATILE}
        kept = {key: value for key, value in item.items() if key != "status"} | {"metadata": metadata}
        if item["kind"] == names.SECRET.kind:
            kept["data"] = sorted(item.get("data") or ())
        if item["kind"] == names.SERVICE.kind:
            kept["spec"] = {key: value for key, value in item["spec"].items() if not key.startswith("clusterIP")}
        text = json.dumps(kept, sort_keys=True)
        text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UID", text)
        text = re.sub(rf'"{place.namespace}"', '"NAMESPACE"', text)
        text = re.sub(rf"\\.{place.namespace}\\b", ".NAMESPACE", text)
        found.append(json.loads(text.replace(revision, "REVISION")))
    return sorted(found, key=lambda item: (item["kind"], item["metadata"]["name"]))


@dataclass
class Chain:
    """One namespace in which one change after the other is disturbed. The process that mended one meets the next."""

    place: Place
    proxy: CountingProxy
    image: int = 0
    word: int = 0
    process: OperatorProcess | None = None

    def start(self) -> None:
        """An operator behind the proxy; the Lease of one that was killed counts as expired."""
        place = self.place
        if place.api.find(rbac.LEASE, place.namespace, "ccl-operator"):
            place.api.delete(rbac.LEASE, place.namespace, "ccl-operator")
        through = place.server.kubeconfig_for(OPERATOR.name, through=self.proxy.url)
        self.process = place.launch_operator(through, f"operator-{len(place.processes)}")
        self.process.wait_ready()

    def create(self) -> None:
        """A new object."""
        self.place.create(image=self.wanted_image(), **SPEC)

    def update(self) -> None:
        """Ask for another image."""
        self.image += 1
        self.place.api.patch(names.OWNER, self.place.namespace, "ccl", {"spec": {"image": self.wanted_image()}})

    def rotate(self) -> None:
        """Ask for other keys."""
        self.word += 1
        spec = {"secrets": {"rotate": self.wanted_word()}}
        self.place.api.patch(names.OWNER, self.place.namespace, "ccl", {"spec": spec})

    def wanted_word(self) -> str:
        """The one that was given last."""
        return f"order-{self.word}"

    def is_rotated(self) -> bool:
        """Let time pass for new keys, and look whether they sign."""
        self._age_new_keys()
        status = (self.place.owner()["status"].get("secrets")) or {}
        signs = max(
            (each.current.since for each in self.place.key_files().values() if each.current.since), default=None
        )
        return (
            self.is_settled()
            and status.get("rotate") == self.wanted_word()
            and self.states() == {name: [*["previous"] * self.word, "current"] for name in KEY_FILES.values()}
            and signs is not None
            and status.get("rotatedAt") == f"{signs:%Y-%m-%dT%H:%M:%SZ}"
        )

    def states(self) -> dict[str, list[str]]:
        """Of every key, in the order of the files."""
        return {name: [str(key.state) for key in file.keys] for name, file in self.place.key_files().items()}

    def _age_new_keys(self) -> None:
        """The two minutes in which kubelets bring a new key everywhere are over at once."""
        files = self.place.key_files()
        long_ago = datetime.now(UTC) - timedelta(hours=1)
        aged = {
            name: KeyFile(keys=tuple(key.model_copy(update={"since": long_ago}) for key in file.keys))
            for name, file in files.items()
            if any(key.state is KeyState.NEXT and key.since is not None and key.since > long_ago for key in file.keys)
        }
        if aged:
            data = {name: base64.b64encode(file.model_dump_json().encode()).decode() for name, file in aged.items()}
            secret = names.keys("ccl")
            self.place.api.patch(names.SECRET, self.place.namespace, secret, {"data": data})

    def wanted_image(self) -> str:
        """The one asked for."""
        return f"registry.example/ccl-service:{self.image}"

    def disturb(self, after: int, change: Callable[[], None], is_over: Callable[[], bool] | None = None) -> bool:
        """Kill the operator after that write of ``change``; let another finish. False when there were fewer writes."""
        is_over = is_over or self.is_settled
        assert self.process is not None
        self.proxy.expect(after, self.process.kill)
        change()
        until("the crash", lambda: self.proxy.crashed.is_set() or is_over(), timeout=90)
        if not self.proxy.crashed.is_set():
            return False
        self.process.kill()
        self.proxy.expect(0, self.process.kill)
        self.start()
        until("the other finishes", is_over, timeout=90)
        return True

    def settle(self) -> None:
        """Play controllers until what is wanted is stable and ready."""
        until(f"{self.wanted_image()} is stable", self.is_settled, timeout=90)

    def is_settled(self) -> bool:
        """Play controllers once, and look."""
        self.place.hand.step()
        # Playing costs more than what is played for.
        self.proxy.crashed.wait(0.1)
        status = self.place.owner().get("status") or {}
        return (
            (status.get("stable") or {}).get("image") == self.wanted_image()
            and status["rollout"]["phase"] == "Idle"
            and all(self.place.is_true(kind) for kind in ("Promoted", "Ready"))
        )

    def is_alone(self) -> bool:
        """Whether nothing of an earlier revision is left."""
        self.place.hand.step()
        return len(self.place.api.list(names.CONFIG_MAP, self.place.namespace)) == 1

    def clear(self) -> None:
        """Remove the object and, as nobody collects garbage here, all that was made for it."""
        process = self.process
        assert process is not None
        self.place.api.delete(names.OWNER, self.place.namespace, "ccl")
        until("the operator knows", lambda: "ccl_operator_condition{" not in process.page("/metrics"))
        # A pass that was under way may have made something again.
        until("nothing is left", lambda: not self._remove_children())

    def _remove_children(self) -> int:
        place, removed = self.place, 0
        for resource in MADE:
            for item in place.api.list(resource, place.namespace):
                name, removed = item["metadata"]["name"], removed + 1
                if item["metadata"].get("finalizers"):
                    place.api.patch(resource, place.namespace, name, {"metadata": {"finalizers": None}})
                place.api.delete(resource, place.namespace, name)
        return removed

    def keys(self) -> Json:
        """The generated keys, if there are any yet."""
        return (self.place.api.find(names.SECRET, self.place.namespace, names.keys("ccl")) or {}).get("data") or {}


def difference(wanted: list[Json], found: list[Json], after: int) -> str:
    """In words; empty when there is none."""
    labels, others = ({(item["kind"], item["metadata"]["name"]) for item in items} for items in (wanted, found))
    if labels != others or len(wanted) != len(found):
        return f"after write {after}: {sorted(labels ^ others)}"
    return "; ".join(f"after write {after}: {a} != {b}" for a, b in zip(wanted, found, strict=True) if a != b)


def in_chains(make_place: Callable[[], Place], work: Callable[[Chain, int], list[str]]) -> list[str]:
    """Run ``work`` in several chains, each with its number; all that they found."""
    with ExitStack() as stack:
        chains = [
            Chain(place, stack.enter_context(CountingProxy(place.server).serving()))
            for place in (make_place() for _ in range(AT_ONCE))
        ]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return [each for found in pool.map(work, chains, range(1, AT_ONCE + 1)) for each in found]


def test_after_a_crash_at_any_write_of_a_creation_the_next_operator_finishes_it(
    make_place: Callable[[], Place],
) -> None:
    tried: list[int] = []

    def create_again_and_again(chain: Chain, number: int) -> list[str]:
        chain.start()
        chain.create()
        chain.settle()
        wanted, found = comparable(chain.place), []
        for after in range(number, MOST, AT_ONCE):
            chain.clear()
            if not chain.disturb(after, chain.create):
                break
            tried.append(after)
            found.append(difference(wanted, comparable(chain.place), after))
        return [each for each in found if each]

    assert in_chains(make_place, create_again_and_again) == []
    assert set(range(1, len(MADE))) < set(tried)


def test_after_a_crash_at_any_write_of_an_update_the_next_operator_finishes_it(
    make_place: Callable[[], Place],
) -> None:
    tried: list[int] = []

    def update_again_and_again(chain: Chain, number: int) -> list[str]:
        chain.start()
        chain.create()
        chain.settle()
        chain.update()
        chain.settle()
        wanted, keys, found = of_any_image(comparable(chain.place)), chain.keys(), []
        for after in range(number, MOST, AT_ONCE):
            if not chain.disturb(after, chain.update):
                break
            tried.append(after)
            found.append(difference(wanted, of_any_image(comparable(chain.place)), after))
            found += [] if chain.keys() == keys else [f"after write {after}: other keys"]
        # The predecessor's removal comes later; it is cut off as well.
        chain.disturb(number, lambda: None, chain.is_alone)
        found.append(difference(wanted, of_any_image(comparable(chain.place)), after=0))
        return [each for each in found if each]

    assert in_chains(make_place, update_again_and_again) == []
    assert set(range(1, 10)) < set(tried)


def test_after_a_crash_at_any_write_of_a_rotation_the_next_operator_finishes_it_and_rotates_once(
    make_place: Callable[[], Place],
) -> None:
    tried: list[int] = []

    def rotate_again_and_again(chain: Chain, number: int) -> list[str]:
        chain.start()
        chain.create()
        chain.settle()
        wanted, found = comparable(chain.place), []
        for after in range(number, MOST, AT_ONCE):
            if not chain.disturb(after, chain.rotate, chain.is_rotated):
                break
            tried.append(after)
            found.append(difference(wanted, comparable(chain.place), after))
        return [each for each in found if each]

    assert in_chains(make_place, rotate_again_and_again) == []
    # Both writes of the keys, and the status behind each.
    assert set(range(1, 5)) <= set(tried)


def of_any_image(found: list[Json]) -> list[Json]:
    """Without the number of the image, and of what counts up with it: revision and attempt."""
    text = re.sub(r"ccl-service:\d+", "ccl-service:N", json.dumps(found))
    text = re.sub(rf'"{names.ATTEMPT_LABEL}": "\d+"', f'"{names.ATTEMPT_LABEL}": "N"', text)
    items: list[Json] = json.loads(text)
    return [{key: value for key, value in item.items() if key != "revision"} for item in items]
