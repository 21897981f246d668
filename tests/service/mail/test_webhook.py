"""Mailgun's events: signed, repeated, reordered; each takes effect once."""

import asyncio
import itertools
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from ccl_service.mail import sql
from ccl_service.mail.model import Accepted, NoAnswer
from ccl_service.mail.service import apply_event
from ccl_service.mail.webhook import ProviderEvent
from ccl_service.platform.http import DB
from ccl_service.platform.json_input import MAX_DEPTH
from ccl_service.platform.problems import DatabaseUnavailable
from hack.fakes.webhooks import event_payload
from tests.service.mail.conftest import SIGNING_KEY
from tests.service.mail.desk import Desk, Says

URL = "/api/webhooks/mailgun"


def payload(
    event: str, send: object, *, key: str = SIGNING_KEY, signed_ago: float = 0.0, token: str | None = None, **extra: Any
) -> dict[str, Any]:
    data = {
        "event": event,
        "id": f"id-{event}",
        "timestamp": time.time(),
        "recipient": "ann@example.com",
        "message": {"headers": {"message-id": "1@mg.example.com"}},
        "user-variables": {"send_id": str(send)},
    }
    return event_payload(signing_key=key, event=data | extra, timestamp=time.time() - signed_ago, token=token)


@pytest.fixture
async def sent(desk: Desk) -> Any:
    """The id of an accepted send."""
    await desk.work(Says(Accepted("1@mg.example.com")))
    return (await desk.send())["id"]


async def test_a_delivery_is_applied_and_its_repeat_is_200(client: Any, desk: Desk, sent: Any) -> None:
    body = payload("delivered", sent)
    first, second = [await client.post(URL, json=body) for _ in range(2)]
    assert (first.status, await first.json()) == (200, {"applied": True})
    assert (second.status, await second.json()) == (200, {"applied": False})
    assert (await desk.send())["state"] == "delivered"
    assert (await desk.kinds()).count("mail.delivered") == 1


def nested(levels: int) -> Any:
    return {} if levels == 1 else {"more": nested(levels - 1)}


@pytest.mark.parametrize(("levels", "status"), [(MAX_DEPTH, 200), (MAX_DEPTH + 1, 406)])
async def test_variables_of_others_may_be_nested_as_deeply_as_any_json(
    client: Any, sent: Any, levels: int, status: int
) -> None:
    # the body, its event and its variables are three of them
    variables = {"send_id": str(sent), "theirs": nested(levels - 3)}
    answer = await client.post(URL, json=payload("delivered", sent, **{"user-variables": variables}))
    assert answer.status == status


async def test_twenty_copies_at_once_take_effect_once(client: Any, desk: Desk, sent: Any) -> None:
    body = payload("delivered", sent)
    answers = await asyncio.gather(*(client.post(URL, json=body) for _ in range(20)))
    assert {answer.status for answer in answers} == {200}
    assert sum([(await answer.json())["applied"] for answer in answers]) == 1


async def test_another_signature_is_401_and_changes_nothing(client: Any, desk: Desk, sent: Any) -> None:
    assert (await client.post(URL, json=payload("delivered", sent, key="another"))).status == 401
    assert (await desk.send())["state"] == "accepted"


@pytest.mark.parametrize(("hours", "status"), [(8, 200), (10, 401), (-1, 401), (10**6, 401)])
async def test_a_signature_counts_for_as_long_as_the_provider_tries(
    client: Any, desk: Desk, sent: Any, hours: int, status: int
) -> None:
    answer = await client.post(URL, json=payload("delivered", sent, signed_ago=min(hours * 3600, time.time())))
    assert answer.status == status
    assert (await desk.send())["state"] == ("delivered" if status == 200 else "accepted")


async def test_a_token_counts_once_whatever_event_comes_with_it(client: Any, desk: Desk, sent: Any) -> None:
    first = await client.post(URL, json=payload("delivered", sent, token="t" * 50))
    forged = await client.post(URL, json=payload("complained", sent, token="t" * 50))
    assert [(answer.status, await answer.json()) for answer in (first, forged)] == [
        (200, {"applied": True}),
        (200, {"applied": False}),
    ]
    assert (await desk.send())["state"] == "delivered"


async def test_a_token_whose_event_could_not_be_stored_is_good_for_the_next_try(
    client: Any, desk: Desk, sent: Any, service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> bool:
        raise DatabaseUnavailable

    body = payload("delivered", sent)
    with monkeypatch.context() as patch:
        patch.setattr(sql, "add_event", away)
        assert (await client.post(URL, json=body)).status == 503
    assert await (await client.post(URL, json=body)).json() == {"applied": True}


@pytest.mark.parametrize(("event", "extra"), [("opened", {}), ("failed", {"severity": "temporary"})])
async def test_whatever_happens_to_a_message_proves_that_it_was_taken(
    desk: Desk, client: Any, event: str, extra: dict[str, Any]
) -> None:
    await desk.work(Says(NoAnswer("http:500")))
    await client.post(URL, json=payload(event, (await desk.send())["id"], **extra))
    assert (await desk.send())["state"] == "accepted"


@pytest.mark.parametrize("body", [b"", b"{}", b'{"signature": 1}', b"\xff", b"[]", b'{"event-data": {}}'])
async def test_a_malformed_body_is_406(client: Any, body: bytes) -> None:
    answer = await client.post(URL, data=body, headers={"Content-Type": "application/json"})
    assert answer.status == 406


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace('"id-delivered"', '"id\\u0000"'),
        lambda text: text.replace('"id-delivered"', '"id\\u001b[2J"'),
        lambda text: text.replace('"id-delivered"', '"id\\ud800"'),
        lambda text: text.replace('"id":', '"id": "one", "id":'),
        lambda text: text.replace('"id-delivered"', '"id", "odds": 1e999'),
        lambda text: text.replace('"id-delivered"', '"id", "odds": NaN'),
        lambda text: text.replace('"id-delivered"', '"id", "tags": ' + "[" * 40 + "]" * 40),
        lambda text: text.replace('"id-delivered"', '"id", "tags": [' + "0," * 20_000 + "0]"),
    ],
    ids=["NUL", "escape", "lone surrogate", "key twice", "infinite", "NaN", "deep", "many"],
)
async def test_what_no_other_body_may_hold_is_406_under_a_good_signature_too(
    client: Any, desk: Desk, sent: Any, change: Callable[[str], str]
) -> None:
    good = json.dumps(payload("delivered", sent))
    bad = change(good)
    assert bad != good
    answer = await client.post(URL, data=bad.encode(), headers={"Content-Type": "application/json"})
    assert answer.status == 406
    assert (await desk.send())["state"] == "accepted"


async def test_texts_of_an_event_are_kept_composed(client: Any, desk: Desk, sent: Any) -> None:
    body = payload("failed", sent, severity="permanent", reason="bounce", id="e\u0301")
    assert (await client.post(URL, json=body)).status == 200
    assert await desk.db.fetchval("SELECT event_id FROM send_events WHERE kind = 'failed'") == "\u00e9"


async def test_an_event_of_an_unknown_send_is_200_and_nothing_is_kept(client: Any, db: Any) -> None:
    assert (await client.post(URL, json=payload("delivered", uuid4()))).status == 200
    assert await db.fetchval("SELECT count(*) FROM send_events") == 0


async def test_without_our_variable_the_message_id_tells_the_send(client: Any, desk: Desk, sent: Any) -> None:
    body = payload("delivered", sent, **{"user-variables": {}})
    assert (await (await client.post(URL, json=body)).json())["applied"]
    assert (await desk.send())["state"] == "delivered"


async def test_a_permanent_failure_bounces_and_suppresses_the_address(client: Any, desk: Desk, sent: Any) -> None:
    await client.post(URL, json=payload("failed", sent, severity="permanent", reason="bounce"))
    assert (await desk.send())["state"] == "bounced"
    assert await desk.db.fetchval("SELECT reason FROM suppressions") == "bounce"


async def test_a_temporary_failure_changes_no_state(client: Any, desk: Desk, sent: Any) -> None:
    await client.post(URL, json=payload("failed", sent, severity="temporary"))
    assert (await desk.send())["state"] == "accepted"
    assert await desk.db.fetchval("SELECT count(*) FROM suppressions") == 0


@pytest.mark.parametrize(("event", "reason"), [("complained", "complaint"), ("unsubscribed", "unsubscribe")])
async def test_a_complaint_or_unsubscription_opts_the_person_out(
    client: Any, desk: Desk, sent: Any, event: str, reason: str
) -> None:
    await client.post(URL, json=payload(event, sent))
    assert (await desk.leads.get(desk.lead))["state"] == "opted_out"
    assert await desk.db.fetchval("SELECT reason FROM suppressions WHERE kind = 'email'") == reason


async def test_an_unsubscription_by_the_provider_s_own_link_is_counted_once(
    client: Any, sent: Any, service: Any
) -> None:
    for _ in range(2):
        await client.post(URL, json=payload("unsubscribed", sent))
    assert service.metrics.value("ccl_opt_outs_total", way="provider") == 1


async def test_opened_and_clicked_are_facts_told_once(client: Any, desk: Desk, sent: Any) -> None:
    for number, event in enumerate(("opened", "clicked", "opened")):
        await client.post(URL, json=payload(event, sent, id=f"id-{number}"))
    send = await desk.send()
    assert (send["state"], send["opened_at"] is not None, send["clicked_at"] is not None) == ("accepted", True, True)
    assert (await desk.kinds())[-2:] == ["mail.opened", "mail.clicked"]


async def test_any_order_of_events_ends_in_the_same_state(desk: Desk) -> None:
    at = datetime(2026, 11, 23, tzinfo=UTC)
    ends = set()
    for order in itertools.permutations(("accepted", "delivered", "complained")):
        await desk.db.execute("DELETE FROM leads")
        await desk.db.execute("DELETE FROM suppressions")
        await desk.take_in()
        send = (await desk.send())["id"]
        for kind in order:
            event = ProviderEvent(f"{send}-{kind}", kind, at, True, None, send, "1@mg.example.com")
            assert await apply_event(desk.db, event)
        row = await desk.send()
        ends.add((row["state"], frozenset(await desk.kinds()) - {"lead.moved"}))
    assert ends == {
        (
            "complained",
            frozenset(
                {
                    "lead.created",
                    "mail.queued",
                    "mail.accepted",
                    "mail.delivered",
                    "mail.complained",
                    "lead.opted_out",
                }
            ),
        )
    }


async def test_a_delivery_resolves_a_send_whose_answer_was_lost(desk: Desk, client: Any) -> None:
    await desk.work(Says(NoAnswer("http:500")))
    send = await desk.send()
    assert send["state"] == "unknown"
    await client.post(URL, json=payload("delivered", send["id"]))
    assert (await desk.send())["state"] == "delivered"
    assert (await desk.leads.get(desk.lead))["state"] == "contacted"


async def test_with_the_database_away_the_provider_is_asked_to_try_again(client: Any, service: Any, sent: Any) -> None:
    await service.app[DB].close()
    assert (await client.post(URL, json=payload("delivered", sent))).status == 503
