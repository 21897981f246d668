"""What a rule is: CEL for the CRD, and the same as a check inside the reconcile."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from ccl_operator.api.conformance import Place
from ccl_operator.api.v1alpha1 import Spec

Path = tuple[str, ...]


@dataclass(frozen=True)
class Entries:
    """Makes a rule one on each entry of a list: ``called`` is CEL for its name, which is told behind the message and
    ``lead``; ``breaking`` gives those that break the rule, index → name."""

    called: str
    lead: str
    breaking: Callable[[Spec], Mapping[int, str]]


@dataclass(frozen=True)
class Rule:
    """``cel`` is put on the schema at ``path`` (property names from the root); ``message`` is the same in both places.

    ``holds(name, spec)``: None for a transition rule. It may refuse more than ``cel`` can know, never less.
    """

    path: Path
    cel: str
    message: str
    holds: Callable[[str, Spec], bool] | None
    entries: Entries | None = None

    @property
    def validation(self) -> dict[str, str]:
        """As the schema holds it. An expression that fails gives way to the message."""
        found = {"rule": self.cel, "message": self.message}
        if self.entries is not None:
            found["messageExpression"] = f"{json.dumps(self.message + self.entries.lead)} + {self.entries.called}"
        return found

    def broken(self, name: str, spec: Spec) -> Iterator[tuple[Place, str]]:
        """Where, and what is to be said of it; nothing when it holds."""
        if self.entries is not None:
            for index, called in self.entries.breaking(spec).items():
                yield (*self.path, index), f"{self.message}{self.entries.lead}{called}"
        elif self.holds is not None and not self.holds(name, spec):
            yield self.path, self.message
