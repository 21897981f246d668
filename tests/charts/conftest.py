"""Helm, built by the development cluster's own recipe, and charts rendered with it."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from hack.cluster.build import KUBERNETES, helm_binary

CHARTS = Path(__file__).parents[2] / "charts"
#: Renders a chart with these values; raises HelmRefused.
Render = Callable[..., list[dict[str, Any]]]


class HelmRefused(Exception):
    """Helm's own words."""


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Run Helm with these arguments; its output. Raises HelmRefused."""
    binary = helm_binary()
    home = tmp_path_factory.mktemp("helm")

    def run(*arguments: str) -> str:
        places = {f"HELM_{kind}_HOME": str(home / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")}
        done = subprocess.run([binary, *arguments], capture_output=True, text=True, check=False, env=places)
        if done.returncode:
            raise HelmRefused(done.stdout + done.stderr)
        return done.stdout

    return run


@pytest.fixture(scope="session")
def render(helm: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Render:
    """The objects of a chart, as ``helm install`` would send them."""
    folder = tmp_path_factory.mktemp("values")

    def template(chart: str = "ccl-operator", **values: Any) -> list[dict[str, Any]]:
        file = folder / "values.json"
        file.write_text(json.dumps(values))
        text = helm(
            *("template", "ccl-operator", str(CHARTS / chart), "--namespace", "ccl-system"),
            *("--kube-version", KUBERNETES, "--values", str(file)),
        )
        return [found for found in yaml.safe_load_all(text) if found]

    return template
