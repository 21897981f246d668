"""Every method of the client against a real service, told as what people do with it."""

import asyncio
import hmac
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from ccl_contract.chat import ChatClose, Segment, SocketAccepted, SocketDone, SocketReady, SocketSay
from ccl_contract.readiness import ReadinessReport
from ccl_service.client import Client, Problem, connect, converse
from ccl_service.leads.model import LeadDraft, identity
from ccl_service.leads.tokens import issue_return
from ccl_service.leads.views import LeadQuery, TimelineQuery
from ccl_service.mail.tokens import Unsubscribe, issue_unsubscribe
from ccl_service.mail.webhook import WebhookBody
from ccl_service.main import Service
from ccl_service.platform.api_keys.model import KeyDraft, KeyState, Rotation
from ccl_service.platform.assets import assets
from ccl_service.platform.audit.views import AuditQuery
from ccl_service.platform.db import PoolDb
from ccl_service.platform.http import KEYS
from ccl_service.platform.lifecycle import working
from ccl_service.platform.profiler import Format
from ccl_service.platform.route import Scope
from ccl_service.platform.views import HistoryQuery, Live, ProfileQuery, ReadinessSummary, Ready, ShedQuery
from tests.service.conftest import ROOT_KEY
from tests.service.polling import eventually

WEBHOOK_KEY = "webhook-key-of-the-client-tests"
CSV = b"first_name,email\nAna,ana@example.com\nBen,not-an-address\n"


@pytest.fixture
def environ(environ: dict[str, str]) -> dict[str, str]:
    return environ | {"MAILGUN_WEBHOOK_SIGNING_KEY": WEBHOOK_KEY}


@dataclass(frozen=True)
class World:
    """A running service, the client of its root key's holder, and what stands behind the API."""

    url: str
    ccl: Client
    db: PoolDb
    service: Service


@pytest.fixture
async def world(client: TestClient[web.Request, web.Application], service: Service, db: PoolDb) -> AsyncIterator[World]:
    url = str(client.make_url("")).rstrip("/")
    async with (
        working(service.workers, service.phase.stop, service.metrics),
        connect(url, key=ROOT_KEY) as ccl,
    ):
        yield World(url, ccl, db, service)


async def test_a_person_is_taken_in_once_and_followed(world: World) -> None:
    leads = world.ccl.leads
    made = await leads.create(LeadDraft(first_name="Ana", email="ana@example.com"), idempotency_key="1")
    assert made.created
    assert await leads.create(LeadDraft(first_name="Ana", email="ana@example.com"), idempotency_key="1") == made
    again = await leads.create(LeadDraft(first_name="Ana", email="ana@example.com"))
    assert (again.id, again.created) == (made.id, False)
    assert (await leads.get(made.id)).email == "ana@example.com"
    timeline = await leads.timeline(made.id, TimelineQuery(limit=1))
    assert [event.kind for event in timeline.items] == ["lead.created"]
    assert timeline.next is not None


async def test_all_pages_of_a_list_are_every_lead_once(world: World) -> None:
    leads = world.ccl.leads
    made = [await leads.create(LeadDraft(first_name="A", email=f"a{n}@example.com")) for n in range(5)]
    page = await leads.page(LeadQuery(limit=2))
    assert len(page.items) == 2
    assert [lead.id async for lead in leads.all(LeadQuery(limit=2))] == [one.id for one in reversed(made)]
    assert [lead.id async for lead in leads.all(LeadQuery(q="a3@example.com"))] == [made[3].id]


async def test_a_file_is_imported_and_its_errors_are_told(world: World) -> None:
    leads = world.ccl.leads
    staged = await leads.upload(CSV)

    async def done() -> bool:
        return (await leads.imported(staged.id)).state == "done"

    await eventually(done, within=30)
    report = await leads.imported(staged.id)
    assert (report.accepted, report.rejected) == (1, 1)
    errors = await leads.import_errors(staged.id)
    assert [(error.row, error.field) for error in errors.items] == [(3, "email")]


async def test_what_is_wrong_with_a_request_is_told_field_by_field(world: World) -> None:
    future = LeadDraft(first_name="Ana", email="ana@example.com", requested_at=datetime(2900, 1, 1, tzinfo=UTC))
    with pytest.raises(Problem) as refused:
        await world.ccl.leads.create(future)
    assert (refused.value.status, refused.value.code) == (422, "VALIDATION_001")
    assert [error.pointer for error in refused.value.errors] == ["#/requested_at"]


async def test_a_key_is_made_rotated_and_revoked(world: World) -> None:
    keys = world.ccl.keys
    made = await keys.create(KeyDraft(name="partner", scopes=[Scope.LEADS_READ]))
    async with connect(world.url, key=made.secret) as partner:
        assert (await partner.leads.page()).items == []
        with pytest.raises(Problem) as refused:
            await partner.keys.page()
        assert refused.value.code == "AUTH_002"
    rotated = await keys.rotate(made.key.id, Rotation(overlap_seconds=60))
    assert rotated.secret != made.secret
    assert [key.id for key in (await keys.page()).items] == [made.key.id]
    await keys.revoke(made.key.id)
    assert (await keys.get(made.key.id)).state is KeyState.REVOKED


async def test_what_was_changed_is_in_the_audit_trail(world: World) -> None:
    made = await world.ccl.keys.create(KeyDraft(name="partner", scopes=[Scope.LEADS_READ]))
    audit = world.ccl.audit
    (row,) = (await audit.page(AuditQuery(object_id=str(made.key.id)))).items
    assert row.action == "key:created"

    async def sealed() -> bool:
        return (await audit.head()).seq == 1

    await eventually(sealed, within=30)
    assert [one.object_id async for one in audit.export()] == [str(made.key.id)]


async def test_work_that_was_given_up_is_tried_again(world: World) -> None:
    row = uuid4()
    await world.db.execute("INSERT INTO imports (id, state) VALUES ($1, 'quarantined')", row)
    (waiting,) = (await world.ccl.work.page()).items
    assert (waiting.table, waiting.id) == ("imports", row)
    assert (await world.ccl.work.retry("imports", row)).state == "queued"


async def test_strangers_see_whether_it_works_and_a_key_sees_why(world: World) -> None:
    async with connect(world.url) as stranger:
        assert await stranger.monitoring.live() == Live()
        assert await stranger.monitoring.ready() == Ready()
        assert (await stranger.monitoring.health()).version is None
        assert isinstance(await stranger.monitoring.production_readiness(), ReadinessSummary)
    assert (await world.ccl.monitoring.health()).version
    assert isinstance(await world.ccl.monitoring.production_readiness(), ReadinessReport)


async def test_a_service_on_its_way_out_says_so_and_is_no_problem(world: World) -> None:
    world.service.phase.draining = True
    ready = await world.ccl.monitoring.ready()
    assert ready.status == "not ready"
    assert (await world.ccl.monitoring.health()).status == "draining"


async def test_monitoring_answers_with_its_models(world: World) -> None:
    monitoring = world.ccl.monitoring
    await monitoring.live()
    assert any(sample.name == "ccl_http_requests_total" for sample in (await monitoring.metrics()).metrics)
    assert "ccl_http_requests_total" in await monitoring.prometheus()
    assert [window.minutes for window in (await monitoring.performance()).process.windows] == [1, 5, 60]
    assert (await monitoring.history(HistoryQuery(metric="requests"))).unit == "requests"
    assert "DATABASE_URL" in (await monitoring.config()).settings
    assert '"shared"' in await monitoring.profile(ProfileQuery(seconds=1, format=Format.SPEEDSCOPE))
    assert (await monitoring.shed(ShedQuery(seconds=1))).seconds == 1


async def test_the_lag_of_a_replica_that_is_away_is_a_sample_without_a_value(world: World) -> None:
    world.service.metrics.gauge("ccl_db_replica_lag_seconds", float("inf"), "1")
    samples = (await world.ccl.monitoring.metrics()).metrics
    assert [s.value for s in samples if s.name == "ccl_db_replica_lag_seconds"] == [None]
    assert 'ccl_db_replica_lag_seconds{replica="1"} +Inf' in await world.ccl.monitoring.prometheus()


async def test_a_visitor_talks_and_reads_the_stream(world: World) -> None:
    chat = world.ccl.chat
    opened = await chat.open()
    turn = await chat.say(opened.visitor_token, "hello")
    events = [event async for event in chat.events(opened.visitor_token, turn.turn_id)]
    assert [event.event for event in events][-1] == "done"
    assert isinstance(events[0].data, Segment)
    rest = [event async for event in chat.events(opened.visitor_token, turn.turn_id, after=1)]
    assert rest == events[1:]


async def test_a_visitor_talks_over_a_socket(world: World) -> None:
    opened = await world.ccl.chat.open()
    async with asyncio.timeout(20), world.ccl.chat.socket(opened.visitor_token) as socket:
        frames = []
        async for frame in socket:
            frames.append(frame)
            if isinstance(frame, SocketReady):
                await socket.send(SocketSay(type="say", text="please stop"))
    kinds = [type(frame) for frame in frames]
    assert kinds[:2] == [SocketReady, SocketAccepted]
    assert kinds[-1] is SocketDone
    assert socket.closed == ChatClose.DONE


async def test_a_conversation_is_said_and_heard_in_whole_answers(world: World) -> None:
    async with converse(world.url) as cathy:
        assert "AI" in cathy.greeting
        assert await cathy.say("hello")
        assert not cathy.closed


def signed(event: dict[str, Any]) -> WebhookBody:
    timestamp, token = str(int(time.time())), uuid4().hex
    signature = hmac.new(WEBHOOK_KEY.encode(), f"{timestamp}{token}".encode(), sha256).hexdigest()
    proof = {"timestamp": timestamp, "token": token, "signature": signature}
    return WebhookBody.model_validate({"signature": proof, "event-data": event})


async def test_the_links_of_mails_and_the_providers_events_are_answered(world: World) -> None:
    mail, keys, lead = world.ccl.mail, world.service.app[KEYS], UUID(int=1)
    assert "<html" in await mail.returning(issue_return(keys, lead, uuid4(), datetime.now(UTC)))
    token = issue_unsubscribe(keys, Unsubscribe(lead, identity("email", "ana@example.com").value_hash))
    assert "<form" in await mail.unsubscribing(token)
    assert await mail.unsubscribe(token) == await mail.unsubscribe(token)
    assert await world.db.fetchval("SELECT count(*) FROM suppressions") == 1
    event = signed({"event": "delivered", "id": "1", "timestamp": time.time()})
    assert not (await mail.deliver(event)).applied  # it is about no mail of ours


async def test_the_service_describes_itself(world: World) -> None:
    description = world.ccl.description
    assert "/api/leads" in (await description.openapi()).paths
    assert "<html" in await description.page()
    assert await description.asset(assets()["style.css"].url.rpartition("/")[2])
    codes = {kind.code for kind in (await description.problems()).items}
    assert (await description.problem("AUTH_001")).code in codes
    with pytest.raises(Problem) as refused:
        await description.problem("NOPE_999")
    assert refused.value.status == 404
