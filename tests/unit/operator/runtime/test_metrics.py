"""What the cache holds, as series."""

from typing import Any

from prometheus_client import generate_latest

from ccl_operator.runtime.cache import Cache
from ccl_operator.runtime.metrics import Conditions, Metrics


def owner(version: int, **conditions: str) -> dict[str, Any]:
    told = [{"type": kind, "status": status, "reason": "Why"} for kind, status in conditions.items()]
    metadata = {"namespace": "loans", "name": "ccl", "uid": "1", "resourceVersion": str(version)}
    return {"metadata": metadata, "status": {"conditions": told}}


def page(cache: Cache) -> list[str]:
    metrics = Metrics()
    metrics.registry.register(Conditions(cache.owners))
    lines = generate_latest(metrics.registry).decode().splitlines()
    return [line for line in lines if line.startswith("ccl_operator_condition{")]


def test_each_condition_is_one_series_with_its_status_and_reason() -> None:
    cache = Cache()
    cache.put_owner(owner(1, Ready="True", Stalled="Unknown"))
    assert page(cache) == [
        'ccl_operator_condition{name="ccl",namespace="loans",reason="Why",status="True",type="Ready"} 1.0',
        'ccl_operator_condition{name="ccl",namespace="loans",reason="Why",status="Unknown",type="Stalled"} 1.0',
    ]


def test_a_change_leaves_no_series_of_the_old_status() -> None:
    cache = Cache()
    cache.put_owner(owner(1, Ready="True"))
    cache.put_owner(owner(2, Ready="False"))
    assert page(cache) == [
        'ccl_operator_condition{name="ccl",namespace="loans",reason="Why",status="False",type="Ready"} 1.0'
    ]


def test_the_series_go_with_the_object() -> None:
    cache = Cache()
    cache.put_owner(owner(1, Ready="True"))
    cache.remove_owner(owner(2))
    assert page(cache) == []
