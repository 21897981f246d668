"""An operator that is given several namespaces works in all of them, and nowhere else."""

from collections.abc import Callable

from ccl_operator import names
from tests.operator.conftest import Place
from tests.operator.operator_process import until


def test_one_process_works_in_all_its_namespaces_and_in_no_other(make_place: Callable[[], Place]) -> None:
    first, second, other = make_place(), make_place(), make_place()
    operator = first.launch_operator(None, "operator", "--namespace", second.namespace)
    operator.wait_ready()
    for place in (other, first, second):
        place.create()
    for place in (first, second):
        place.promote()
    assert {kind for kind, _ in first.children()} == {kind for kind, _ in second.children()}
    assert (other.owner().get("status"), other.children(), other.writes()) == (None, {}, [])
    second.api.delete(names.SERVICE, second.namespace, "ccl")
    until("it repairs what is not in its first namespace", lambda: ("Service", "ccl") in second.children())
