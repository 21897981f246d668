"""Policies."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web

from ccl_service.platform.auth import (
    ANONYMOUS,
    VISITOR_LIFETIME,
    Principal,
    issue_visitor,
    permit,
    presented_key,
    recognise,
    verify_visitor,
)
from ccl_service.platform.keys import KeyName, KeyRing, KeySource
from ccl_service.platform.limits import LimitClass
from ccl_service.platform.problems import Forbidden, MissingScope, Unauthenticated
from ccl_service.platform.route import Auth, Priority, Route, Scope

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ROOT = "r" * 32
MONITOR = "m" * 32


async def handler(_: web.Request) -> web.Response:
    return web.Response()


def route(auth: Auth, scope: Scope = Scope.LEADS_READ) -> Route:
    needed = scope if auth is Auth.KEY else None
    return Route("GET", "/", handler, auth, LimitClass.NONE, priority=Priority.READ, scope=needed)


@pytest.fixture
def keys(tmp_path: Path) -> KeyRing:
    monitor = tmp_path / "token"
    monitor.write_text(MONITOR)
    sources = {KeyName.INTERNAL_API: KeySource(value=ROOT), KeyName.JWT: KeySource(value="j" * 32)}
    return KeyRing(sources, monitor=monitor)


def test_the_bearer_key_goes_before_the_header_of_its_own() -> None:
    assert presented_key({"Authorization": "bearer one", "X-API-Key": "two"}) == "one"
    assert presented_key({"Authorization": "Basic zzz", "X-API-Key": "two"}) == "two"
    assert presented_key({}) is None


def admit(auth: Auth, key: str | None, keys: KeyRing, scope: Scope = Scope.LEADS_READ) -> Principal:
    return permit(route(auth, scope), recognise(key, keys) if key else None, shown=key is not None)


@pytest.mark.parametrize("auth", [Auth.PUBLIC, Auth.SIGNATURE])
def test_an_open_route_takes_a_wrong_key_for_nobody(keys: KeyRing, auth: Auth) -> None:
    assert admit(auth, "wrong", keys) == ANONYMOUS
    assert admit(auth, None, keys) == ANONYMOUS
    assert admit(auth, ROOT, keys).kind == "root"


@pytest.mark.parametrize("auth", [Auth.ROOT_KEY, Auth.KEY])
def test_a_closed_route_refuses_nobody_and_a_wrong_key(keys: KeyRing, auth: Auth) -> None:
    for key in (None, "wrong", "\udcff"):
        with pytest.raises(Unauthenticated):
            admit(auth, key, keys)


def test_a_visitor_token_is_no_key_and_a_key_no_visitor_token(keys: KeyRing) -> None:
    token = issue_visitor(keys, "conversation-1", now=NOW)
    assert verify_visitor(keys, token, now=NOW) == "conversation-1"
    assert recognise(token, keys) is None
    with pytest.raises(Unauthenticated):
        verify_visitor(keys, ROOT, now=NOW)


def test_a_valid_key_without_the_scope_is_told_which_one_it_lacks(keys: KeyRing) -> None:
    assert admit(Auth.KEY, MONITOR, keys, Scope.METRICS_SCRAPE).kind == "monitor"
    with pytest.raises(MissingScope, match="leads:read"):
        admit(Auth.KEY, MONITOR, keys, Scope.LEADS_READ)
    with pytest.raises(Forbidden):
        admit(Auth.ROOT_KEY, MONITOR, keys)


def test_a_visitor_token_ends(keys: KeyRing) -> None:
    token = issue_visitor(keys, "conversation-1", now=NOW)
    verify_visitor(keys, token, now=NOW + VISITOR_LIFETIME - timedelta(seconds=1))
    with pytest.raises(Unauthenticated):
        verify_visitor(keys, token, now=NOW + VISITOR_LIFETIME)


def test_a_token_of_another_purpose_is_no_visitor_token(keys: KeyRing) -> None:
    with pytest.raises(Unauthenticated):
        verify_visitor(keys, keys.sign("return", b'{"c":"x","exp":9999999999}'), now=NOW)
