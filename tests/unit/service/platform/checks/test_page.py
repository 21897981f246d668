"""The page about readiness names every check, in the order of the report."""

import re
from pathlib import Path

from ccl_service.agents.checks import agent_checks
from ccl_service.mail.checks import mail_checks
from ccl_service.platform.assembly import wall_clock
from ccl_service.platform.checks.catalog import register_all
from ccl_service.platform.checks.verdict import Subject
from ccl_service.platform.config import load_settings
from ccl_service.platform.readiness import CheckRegistry
from tests.unit.service.platform.checks.good import GOOD, NoDb

PAGE = Path(__file__).parents[5] / "docs" / "readiness.md"


async def test_the_page_about_readiness_names_every_check_in_the_order_of_the_report() -> None:
    settings = load_settings(GOOD | {"MAILGUN_WEBHOOK_SIGNING_KEY": "signing-key"})
    registry = CheckRegistry()
    register_all(registry, Subject(settings, NoDb(), None, wall_clock))
    async with mail_checks(registry, settings, NoDb()), agent_checks(registry, settings):
        assert re.findall(r"^\| `(\w+)` \|", PAGE.read_text(), re.M) == list(registry.ids)
