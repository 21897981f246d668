"""A queue of errands."""

from typing import Any

import pytest

from ccl_service.platform.work import WORK_COLUMNS, Queue
from tests.service.work.errands import ERRANDS


@pytest.fixture
async def queue(db: Any) -> Queue:
    """An empty one, over a table that is made for it."""
    await db.execute(f"CREATE TABLE errands (id uuid PRIMARY KEY, note text, {WORK_COLUMNS})")
    await db.execute(f"CREATE INDEX errands_due ON errands (lane, due_at) WHERE state IN ({ERRANDS.states})")
    return Queue(db, ERRANDS)
