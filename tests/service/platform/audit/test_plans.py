"""Reads of the audit trail walk an index in the order they need; none sorts the whole log."""

import pytest

from ccl_service.platform.audit import sql
from ccl_service.platform.db import PoolDb
from tests.service.plans import indexed_plan

NO_FILTER = ("NULL", *["NULL"] * 8, "50")


@pytest.mark.parametrize(
    ("statement", "values", "index"),
    [
        (sql.PAGE, NO_FILTER, "audit_log_pkey"),
        (sql.PAGE, ("1000", *NO_FILTER[1:]), "audit_log_pkey"),
        (sql.PAGE, ("NULL", "NULL", "'key'", "'k1'", *NO_FILTER[4:]), "audit_log_object"),
        (sql.PAGE, ("NULL", "'key:created'", *NO_FILTER[2:]), "audit_log_action"),
        (sql.PAGE, ("NULL", *["NULL"] * 3, "'key'", "'k1'", *NO_FILTER[6:]), "audit_log_principal"),
        (sql.CHAIN, ("5", "1000"), "audit_log_seq_key"),
        (sql.EXPORT, ("5", "NULL", "NULL", "500"), "audit_log_seq_key"),
        (sql.UNSEALED, ("1000",), "audit_log_unsealed"),
        (sql.SEALS, ("5", "1000"), "audit_seals_pkey"),
    ],
    ids=["list", "next page", "by object", "by action", "by principal", "chain", "export", "unsealed", "seals"],
)
async def test_the_statement_walks_its_index_and_sorts_nothing(
    db: PoolDb, statement: str, values: tuple[str, ...], index: str
) -> None:
    plan = await indexed_plan(db, statement, values)
    assert f"using {index}" in plan, plan
    assert "Sort" not in plan, plan
