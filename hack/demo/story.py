"""The demo, told from a pod: leads come in, one person is written to, answers in the chat; the timeline tells it all.

Usage: python -m hack.demo.story --run ID       (ID makes this run's person a new one)

Environment: CCL_URL (the service), CCL_KEY_FILE (the key file of its root key), FAKE_MAILGUN_URL (where mail ends up).
Ends with code 1 and the reason when any part of the story does not come true in time.
"""

import argparse
import asyncio
import os
import re
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import aiohttp

from ccl_service.client import ApiError, Client, connect, converse
from ccl_service.leads.model import Consent, Finance, LeadDraft, LeadState
from ccl_service.leads.views import EventView, ImportErrorsQuery, ImportView
from hack.demo.keys import root_key

LEADS: Final = Path(__file__).with_name("leads.csv")
#: Of the file's 200 rows.
MOST_ROWS_ARE_GOOD: Final = 150
IMPORT_WITHIN, MAIL_WITHIN, TIMELINE_WITHIN = 60.0, 30.0, 30.0
LINES: Final = (
    "Hi, I started an application last week but stopped. My credit is not great, is that a problem?",
    "Are you a human?",
    "Please call me at {phone}, any time after five.",
)


class StoryBroke(Exception):
    """Something expected did not happen."""


def tell(what: str, text: str) -> None:
    """One line of the story."""
    print(f"{what:<10} {text}", flush=True)


async def soon(what: str, probe: Callable[[], Awaitable[Any]], within: float) -> Any:
    """The first truthy answer of ``probe``. Raises StoryBroke when there is none in time."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if found := await probe():
            return found
        await asyncio.sleep(0.25)
    raise StoryBroke(f"{what}: not within {within:.0f} s")


async def import_leads(ccl: Client) -> None:
    """Upload the CSV file, wait until it is worked through and tell what became of its rows."""
    staged = await ccl.leads.upload(LEADS.read_bytes())

    async def done() -> ImportView | None:
        found = await ccl.leads.imported(staged.id)
        return found if found.state in {"done", "failed", "quarantined"} else None

    report: ImportView = await soon("the import", done, IMPORT_WITHIN)
    tell("import", f"{report.accepted} new, {report.duplicates} known, {report.rejected} refused, as in:")
    for error in (await ccl.leads.import_errors(staged.id, ImportErrorsQuery(limit=3))).items:
        tell("", f"row {error.row}: {error.field} {error.code}")
    if report.state != "done":
        raise StoryBroke(f"the import ended as {report.state}: {report.reason}")
    if report.accepted + report.duplicates < MOST_ROWS_ARE_GOOD or not report.rejected:
        raise StoryBroke(f"of 200 rows at least {MOST_ROWS_ARE_GOOD} are good, and some are broken")


def person(run: str) -> LeadDraft:
    """This run's person: known by an address only; the number follows in the chat."""
    return LeadDraft(
        first_name="Dana",
        last_name="Whitfield",
        email=f"dana.whitfield.{run}@example.com",
        zip="62704",
        vehicle_interest="2021 Honda CR-V",
        finance=Finance(monthly_income_usd=3400, credit_band="poor", employment="employed"),
        consent=Consent(
            text="I agree to be contacted about my application.",
            at=datetime.now(UTC),
            source_url="https://loans.example.com/apply",
        ),
        external_id=f"demo-{run}",
    )


async def mail_to(http: aiohttp.ClientSession, address: str) -> dict[str, Any] | None:
    """The mail that the fake Mailgun received for an address."""
    async with http.get(f"{os.environ['FAKE_MAILGUN_URL']}/outbox.json") as answer:
        return next((mail for mail in await answer.json() if mail["to"] == address), None)


async def talk(url: str, token: str, phone: str) -> None:
    """The person follows the link of the mail and chats."""
    async with converse(url, return_token=token) as conversation:
        tell("chat", f"Cathy: {conversation.greeting}")
        for line in LINES:
            said = line.format(phone=phone)
            tell("", f"Dana:  {said}")
            tell("", f"Cathy: {await conversation.say(said)}")


async def show_timeline(ccl: Client, lead: UUID) -> None:
    """Wait until the lead is engaged and the mail delivered, then print everything that happened."""

    async def complete() -> list[EventView] | None:
        timeline = await ccl.leads.timeline(lead)
        kinds = {event.kind for event in timeline.items}
        wanted = {"lead.created", "mail.accepted", "mail.delivered", "chat.message", "chat.reply", "lead.phone_given"}
        return timeline.items if wanted <= kinds else None

    events: list[EventView] = await soon("a complete timeline", complete, TIMELINE_WITHIN)
    state = (await ccl.leads.get(lead)).state
    tell("timeline", f"the lead is now {state}")
    for event in sorted(events, key=lambda event: event.at):
        tell("", f"{event.at:%H:%M:%S}  {event.kind:<18} {event.actor:<22} {event.reason or ''}")
    if state is not LeadState.ENGAGED:
        raise StoryBroke(f"the lead should be engaged, not {state}")


async def story(run: str) -> None:
    """The whole of it."""
    url = os.environ["CCL_URL"]
    async with connect(url, key=root_key(os.environ["CCL_KEY_FILE"])) as ccl, aiohttp.ClientSession() as outside:
        await import_leads(ccl)
        dana = person(run)
        created = await ccl.leads.create(dana, idempotency_key=f"story-{run}")
        came_in = time.monotonic()
        tell("lead", f"{dana.first_name} {dana.last_name} came in as {created.id}")
        mail = await soon("the first contact", lambda: mail_to(outside, dana.email or ""), MAIL_WITHIN)
        tell("mail", f"first contact received after {time.monotonic() - came_in:.1f} s: {mail['subject']}")
        link = re.search(r"https://\S+/api/r/([\w.~-]+)", mail["text"])
        if link is None:
            raise StoryBroke("the mail holds no return link")
        await talk(url, link.group(1), f"(217) 555-01{sum(run.encode()) % 100:02}")
        await show_timeline(ccl, created.id)


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description="the demo's story")
    parser.add_argument("--run", required=True, help="makes this run's person a new one")
    options = parser.parse_args()
    try:
        asyncio.run(story(options.run))
    except (StoryBroke, ApiError, aiohttp.ClientError, TimeoutError) as error:
        print(f"the story broke: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
