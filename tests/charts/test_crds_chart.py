"""The chart of the CRDs."""

from collections.abc import Callable

from ccl_operator.api.schema import crd
from tests.charts.conftest import CHARTS, Render


def test_helm_lint_finds_nothing(helm: Callable[..., str]) -> None:
    helm("lint", str(CHARTS / "ccl-crds"))


def test_it_renders_exactly_the_crds_of_the_code(render: Render) -> None:
    assert render("ccl-crds") == [crd()]
