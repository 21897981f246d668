"""Hot reads walk an index in the order they need, so that the last page costs what the first does."""

from typing import Any

import pytest

from ccl_service.leads import sql
from tests.service.plans import indexed_plan


@pytest.mark.parametrize(
    ("statement", "values", "index"),
    [
        (sql.LEAD_LIST, ("now()", "gen_random_uuid()", *["NULL"] * 6, "50"), "leads_newest"),
        (sql.LEAD_LIST, ("NULL", "NULL", "'new'", *["NULL"] * 5, "50"), "leads_by_state"),
        (sql.TIMELINE, ("'00000000-0000-4000-8000-000000000000'", "5", "100"), "lead_events_timeline"),
    ],
)
async def test_a_page_reads_its_index_and_sorts_nothing(
    db: Any, statement: str, values: tuple[str, ...], index: str
) -> None:
    plan = await indexed_plan(db, statement, values)
    assert f"using {index}" in plan, plan
    assert "Sort" not in plan, plan
