"""What the Prometheus operator reads: which pods to scrape, and the alerts. Pure, but for the rules' own file.

Pods are scraped, not the Service: jobs pods have none, and the candidate's pods are worth watching too.
"""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

import yaml

from ccl_operator import names
from ccl_operator.environment import MONITOR_TOKEN
from ccl_operator.manifests.meta import Target, child

METRICS_PATH: Final = "/api/monitoring/metrics/prometheus"
INTERVAL: Final = "30s"
Labels = Mapping[str, str]


def monitor(target: Target, labels: Labels) -> dict[str, Any]:
    """PodMonitor of web and jobs pods; the rules find its series by the instance label.

    ``labels``, here and below: more of the object's own, by which a Prometheus selects it.
    """
    token = {"name": names.monitor(target.instance), "key": MONITOR_TOKEN}
    endpoint = {"port": "http", "path": METRICS_PATH, "authorization": {"type": "Bearer", "credentials": token}}
    return _monitor(target, target.instance, [names.JOBS, names.WEB], endpoint, labels)


def pooler_monitor(target: Target, labels: Labels) -> dict[str, Any]:
    """PodMonitor of the pooler's exporter; its series carry the same labels."""
    return _monitor(target, names.pgbouncer(target.instance), [names.PGBOUNCER], {"port": "metrics"}, labels)


def _monitor(
    target: Target, name: str, components: list[str], endpoint: Mapping[str, Any], labels: Labels
) -> dict[str, Any]:
    chosen = {"key": names.COMPONENT_LABEL, "operator": "In", "values": components}
    body = {
        "spec": {
            "selector": {"matchLabels": {names.INSTANCE_LABEL: target.instance}, "matchExpressions": [chosen]},
            "podTargetLabels": [names.INSTANCE_LABEL, names.COMPONENT_LABEL],
            "podMetricsEndpoints": [{"interval": INTERVAL, **endpoint}],
        }
    }
    return _labelled(child(names.POD_MONITOR, target, name, body), labels)


def _labelled(manifest: dict[str, Any], labels: Labels) -> dict[str, Any]:
    metadata = manifest["metadata"]
    return {**manifest, "metadata": {**metadata, "labels": {**labels, **metadata["labels"]}}}


def rules(target: Target, runbooks_url: str, labels: Labels) -> dict[str, Any]:
    """PrometheusRule with the alerts of this object. ``runbooks_url``: where their pages can be read, or empty."""
    spec = _filled(_template(), {"__NAMESPACE__": target.namespace, "__NAME__": target.instance})
    for rule in (rule for group in spec["groups"] for rule in group["rules"]):
        page = rule["annotations"].get("runbook", "")
        if runbooks_url and page:
            del rule["annotations"]["runbook"]
            rule["annotations"]["runbook_url"] = f"{runbooks_url}/{page.rpartition('/')[2]}"
    return _labelled(child(names.PROMETHEUS_RULE, target, target.instance, {"spec": spec}), labels)


@cache
def _template() -> Any:
    """Read and parsed once: there may be thousands of objects."""
    return yaml.safe_load(files("ccl_operator.manifests").joinpath("rules", "service.yaml").read_text(encoding="utf-8"))


def _filled(value: Any, words: Mapping[str, str]) -> Any:
    """A copy with the words replaced in every text."""
    if isinstance(value, str):
        for word, replacement in words.items():
            value = value.replace(word, replacement)
        return value
    if isinstance(value, dict):
        return {key: _filled(item, words) for key, item in value.items()}
    return [_filled(item, words) for item in value] if isinstance(value, list) else value
