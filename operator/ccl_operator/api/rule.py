"""What a rule is: CEL for the CRD, and the same as a check inside the reconcile."""

from collections.abc import Callable
from dataclasses import dataclass

from ccl_operator.api.v1alpha1 import Spec

Path = tuple[str, ...]


@dataclass(frozen=True)
class Rule:
    """``cel`` is put on the schema at ``path`` (property names from the root); ``message`` is the same in both places.

    ``holds(name, spec)``: None for a transition rule. It may refuse more than ``cel`` can know, never less.
    """

    path: Path
    cel: str
    message: str
    holds: Callable[[str, Spec], bool] | None
