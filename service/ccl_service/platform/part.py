"""A part of a statement that one feature makes and another one runs: one round trip and one transaction for both.

Neither knows the other's tables. A part is a list of common table expressions; what its user may read is said by the
contract between the two. All of one statement sees the database as it was before, and foreign keys are checked at its
end, so that a row may refer to one that another part writes (PostgreSQL, "Data-Modifying Statements in WITH").
"""

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_PARAMETER: Final = re.compile(r"\$(\d+)")


@dataclass(frozen=True, slots=True)
class Part:
    """``sql``: a constant of the program with parameters from ``$1`` on, of which ``args`` are the values."""

    sql: str
    args: Sequence[object]

    def within(self, statement: str, *args: object) -> tuple[str, *tuple[object, ...]]:
        """``statement``, a constant whose parameters are ``args``, with this part at its ``{part}``; all arguments."""
        arguments = (*args, *self.args)
        return _joined(statement, self.sql, len(args)), *arguments


@functools.cache
def _joined(statement: str, part: str, own: int) -> str:
    """The part's parameters come after the statement's own."""
    return statement.replace("{part}", _PARAMETER.sub(lambda found: f"${int(found[1]) + own}", part))
