"""Intake without mail: a first contact that only remembers whom it was asked to start for."""

from collections.abc import Callable
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from ccl_service.leads.service import Leads
from ccl_service.mail.service import FirstContacts
from ccl_service.platform.db import PoolDb

NOW = datetime(2026, 11, 23, 18, 0, tzinfo=UTC)


@pytest.fixture
def first_contacts() -> FirstContacts:
    """The real start of first contacts; nobody works what it queues."""
    return FirstContacts(new_id=uuid4, wake=lambda: None)


@pytest.fixture
def leads(db: PoolDb, first_contacts: FirstContacts) -> Leads:
    """The use cases on this test's database."""
    return Leads(db, first_contacts, now=lambda: NOW, new_id=uuid4)


@pytest.fixture
def count(db: PoolDb) -> Callable[[str], object]:
    """Rows of a table."""

    async def rows(table: str) -> int:
        found: int = await db.fetchval(f"SELECT count(*) FROM {table}")
        return found

    return rows
