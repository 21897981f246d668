"""The answer of ``/api/monitoring/production-readiness``, which the operator's gate reads."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from ccl_contract.document import Document, Part
from ccl_contract.schema import Database, SchemaState

#: Check ids are used unchanged as condition reasons (metav1.Condition, reason).
CheckId = Annotated[str, Field(pattern=r"^[A-Z][A-Za-z0-9]{0,62}$", examples=["SecretsStrong"])]
#: Names of keys.
_Ids = Annotated[tuple[str, ...], Field(examples=[["k2"]])]


class CheckStatus(StrEnum):
    """The verdict of one check. ``warn`` never blocks by itself."""

    PASS = "pass"  # noqa: S105 - a verdict
    WARN = "warn"
    FAIL = "fail"


_RANK = {CheckStatus.PASS: 0, CheckStatus.WARN: 1, CheckStatus.FAIL: 2}


def worst(statuses: Iterable[CheckStatus]) -> CheckStatus:
    """The worst of the verdicts; ``pass`` when there is none."""
    return max(statuses, key=_RANK.__getitem__, default=CheckStatus.PASS)


class Check(Part):
    """One check: ``reason`` in CamelCase, ``message`` what was seen, ``action`` what to do."""

    id: CheckId
    status: CheckStatus
    reason: str = Field(default="", examples=["Weak"])
    message: str = Field(default="", examples=["JWT_SECRET is weak"])
    action: str = Field(default="", examples=["make one with: openssl rand -base64 48"])


class KeyIds(Part):
    """The ids of the keys a process holds."""

    jwt: _Ids = ()
    session: _Ids = ()
    internal_api: _Ids = ()


class ReadinessReport(Document):
    """The whole answer. ``schema`` and ``database`` are absent while the database cannot be reached."""

    status: CheckStatus
    revision: str = Field(default="", examples=["ccl-7f9c4d"])
    version: str = Field(default="", examples=["0.1.0"])
    schema_: SchemaState | None = Field(default=None, alias="schema")
    database: Database | None = None
    keys: KeyIds = KeyIds()
    checks: tuple[Check, ...] = ()

    def blocking(self, treat_as_fail: Iterable[str] = ()) -> tuple[Check, ...]:
        """The checks that keep traffic away, in list order: each ``fail``, and each ``warn`` whose id is named."""
        named = frozenset(treat_as_fail)
        return tuple(
            check
            for check in self.checks
            if check.status is CheckStatus.FAIL or (check.status is CheckStatus.WARN and check.id in named)
        )
