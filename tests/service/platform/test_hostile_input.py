"""Whatever is sent to whichever route: an answer that the API's document knows, and never a failure of the service.

Requests are generated from the document that ships: by its schemas, bent in places, and plain bytes.
"""

import asyncio
import json
import zlib
from collections.abc import Mapping
from itertools import count
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import ClientTimeout, FormData, web
from aiohttp.test_utils import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from yarl import URL

from ccl_service.main import route_table
from ccl_service.platform.bounds import default_bounds
from ccl_service.platform.description import Description
from ccl_service.platform.route import JSON, Route, largest_body

Client = TestClient[web.Request, web.Application]
TABLE = route_table()
DOCUMENT: Mapping[str, Any] = Description(TABLE, version="1", bounds=default_bounds()).document
#: Rows that are meant to take long (a profile), or to change how the process serves.
LASTING = {"/api/monitoring/profile", "/api/monitoring/shed"}
ROWS = [row for row in TABLE if row.path not in LASTING]
ADDRESSES = count()
BODY_LIMIT_BYTES = 4096

NASTY_TEXT = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        ["", " ", "\x00", "\ud800", "a\u0301", "\u202e", "'; DROP TABLE leads; --", "<script>", "%", "A" * 5000]
    ),
    st.sampled_from(["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "2026-01-01", "NaN", "1e999", "-0"]),
)
NASTY = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([2**31, 2**63, -(2**63) - 1, 10**40]),
    st.floats(),
    NASTY_TEXT,
    st.lists(st.none(), max_size=2),
    st.just({}),
)


def fitting(schema: Mapping[str, Any], depth: int = 0) -> st.SearchStrategy[Any]:
    """Values that often fit a JSON Schema of our document, and sometimes do not."""
    if "$ref" in schema:
        return fitting(DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]], depth)
    if "properties" in schema:
        return _object(schema, depth)
    if several := schema.get("anyOf", schema.get("oneOf")):
        return st.one_of([fitting(one, depth) for one in several])
    if "enum" in schema:
        return st.one_of(st.sampled_from(schema["enum"]), NASTY)
    of_kind = _OF_KIND.get(schema.get("type", "")) if depth < 4 else None
    return of_kind(schema, depth) if of_kind else NASTY


def _object(schema: Mapping[str, Any], depth: int) -> st.SearchStrategy[Any]:
    fields = {name: fitting(one, depth + 1) for name, one in schema.get("properties", {}).items()}
    required = {name: fields.pop(name) for name in schema.get("required", ()) if name in fields}
    whole = st.fixed_dictionaries(required, optional=fields)
    return st.one_of(whole, whole, whole, st.dictionaries(NASTY_TEXT, NASTY, max_size=3))


def _array(schema: Mapping[str, Any], depth: int) -> st.SearchStrategy[Any]:
    return st.one_of(st.lists(fitting(schema.get("items", {}), depth + 1), max_size=3), NASTY)


def _string(schema: Mapping[str, Any], _: int) -> st.SearchStrategy[Any]:
    moments = st.datetimes().map(lambda at: f"{at.isoformat()}Z")
    written = moments if schema.get("format") == "date-time" else NASTY_TEXT
    return st.one_of(written, written, NASTY)


def _integer(schema: Mapping[str, Any], _: int) -> st.SearchStrategy[Any]:
    return st.one_of(st.integers(schema.get("minimum"), schema.get("maximum")), NASTY)


_OF_KIND = {"object": _object, "array": _array, "string": _string, "integer": _integer}


def bodies(row: Route) -> st.SearchStrategy[bytes]:
    """Bodies for a route: after its schema, other JSON, bytes."""
    operation = DOCUMENT["paths"][row.path][row.method.lower()]
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    raw = st.one_of(st.binary(max_size=200), NASTY.map(_json), st.just(b"[" * 2000), st.just(b'{"a":1,"a":2}'))
    return st.one_of(fitting(content["schema"]).map(_json), raw) if content else raw


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


@st.composite
def requests(draw: st.DrawFn) -> tuple[Route, URL, dict[str, str], bytes]:
    """A request to some route."""
    row = draw(st.sampled_from(ROWS))
    path = row.path
    for parameter in DOCUMENT["paths"][row.path][row.method.lower()].get("parameters", ()):
        if parameter["in"] == "path":
            value = draw(st.one_of(st.uuids().map(str), NASTY_TEXT.filter(bool)))
            path = path.replace(f"{{{parameter['name']}}}", quote(value, safe="", errors="surrogatepass"))
    query = draw(_queries(row))
    headers = {"Content-Type": draw(st.sampled_from([row.consumes, row.consumes, row.consumes, "text/plain", ""]))}
    for name in draw(
        st.sets(st.sampled_from(["Idempotency-Key", "Last-Event-ID", "Accept", "Origin", "X-Request-ID"]))
    ):
        headers[name] = draw(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20))
    body = draw(bodies(row)) if row.method != "GET" else b""
    return row, URL(f"{path}?{query}" if query else path, encoded=True), headers, body


@st.composite
def _queries(draw: st.DrawFn, row: Route) -> str:
    known = [p for p in DOCUMENT["paths"][row.path][row.method.lower()].get("parameters", ()) if p["in"] == "query"]
    pairs = [(p["name"], draw(fitting(p["schema"]))) for p in known if draw(st.booleans())]
    pairs += draw(st.lists(st.tuples(st.text(max_size=5), NASTY_TEXT), max_size=1))
    return "&".join(f"{_quoted(name)}={_quoted(value)}" for name, value in pairs)


def _quoted(value: Any) -> str:
    return quote(str(value), safe="", errors="surrogatepass")


@pytest.fixture
def environ(environ: dict[str, str]) -> dict[str, str]:
    return environ | {
        "TRUST_PROXY": "127.0.0.0/8",
        "BODY_LIMIT_BYTES": str(BODY_LIMIT_BYTES),
        "MAILGUN_WEBHOOK_SIGNING_KEY": "webhook-key-of-the-hostile-input-tests",
    }


@given(sent=requests())
@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
async def test_no_request_makes_the_service_fail_or_answer_what_its_document_does_not_know(
    client: Client, root: dict[str, str], visitor: dict[str, str], sent: tuple[Route, URL, dict[str, str], bytes]
) -> None:
    row, url, headers, body = sent
    number = next(ADDRESSES)
    # an address for each request, so that no limit hides what would have happened
    headers = headers | {"X-Forwarded-For": f"203.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"}
    headers |= visitor if row.auth == "visitor" else root
    async with client.request(
        row.method, url, headers=headers, data=body, timeout=ClientTimeout(total=60), allow_redirects=False
    ) as answer:
        text = await answer.text()
        assert answer.status < 500, text
        # a path that its own parameter has bent belongs to another row, or to none, or is longer than any may be
        if answer.status in {404, 405, 431}:
            return
        known = DOCUMENT["paths"][row.path][row.method.lower()]["responses"]
        assert str(answer.status) in known, (answer.status, text)
        content = _response(known[str(answer.status)]).get("content", {})
        if answer.status != 204:
            assert answer.content_type in content
        if answer.content_type in {"application/json", "application/problem+json"}:
            _validate(json.loads(text), content[answer.content_type]["schema"])


def _response(told: Mapping[str, Any]) -> Mapping[str, Any]:
    """A response, or the one that it refers to."""
    name = told.get("$ref", "").rpartition("/")[2]
    found: Mapping[str, Any] = DOCUMENT["components"]["responses"][name] if name else told
    return found


def _validate(value: Any, schema: Mapping[str, Any]) -> None:
    """Raises ValidationError when an answer is not as the document says."""
    Draft202012Validator({**schema, "components": DOCUMENT["components"]}).validate(value)


@pytest.fixture
async def visitor(client: Client) -> dict[str, str]:
    """The headers of a visitor."""
    answer = await client.post("/api/chat/sessions", json={})
    return {"Authorization": f"Bearer {(await answer.json())['visitor_token']}"}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/leads?after=MjAyNi0wMS0wMVQwMDowMDowMHwwMDAwMDAwMC0wMDAwLTAwMDAtMDAwMC0wMDAwMDAwMDAwMDA", 422),
        ("/api/leads?after=garbage", 422),
        ("/api/leads?after=%F0%9F%98%80", 422),
        ("/api/leads?created_from=0001-01-01T00:00:00%2B14:00", 422),
        ("/api/leads?created_from=2026-01-01T00:00:00", 422),
        ("/api/leads?limit=1&limit=2", 422),
        ("/api/leads?q=%00%00%00", 422),
        ("/api/leads/00000000-0000-0000-0000-000000000000/timeline?after=99999999999999999999", 422),
        ("/api/leads/00000000-0000-0000-0000-000000000000/timeline?after=9223372036854775807", 200),
        ("/api/leads/imports/00000000-0000-0000-0000-000000000000/errors?after=MXwAfGE", 422),
        ("/api/keys?after=MjAyNi0wMS0wMVQwMDowMDowMHxh", 422),
        ("/api/leads/not-an-id", 404),
        ("/api/leads?created_to=0.5", 422),
        ("/api/leads/import", 405),
    ],
)
async def test_what_once_was_a_failure_is_the_callers_mistake(
    client: Client, root: dict[str, str], path: str, status: int
) -> None:
    async with client.get(URL(path, encoded=True), headers=root) as answer:
        assert answer.status == status, await answer.text()


async def test_where_a_mistake_stands_is_told_for_each_part_of_a_request(client: Client, root: dict[str, str]) -> None:
    body = {"first_name": "Ann", "email": "a@example.com", "finance": {"credit_band": "x"}, "a/b~c": 1}
    answer = await (await client.post("/api/leads", json=body, headers=root)).json()
    assert {(e["in"], e["pointer"], e["code"]) for e in answer["errors"]} == {
        ("body", "#/finance/credit_band", "literal_error"),
        ("body", "#/a~1b~0c", "extra_forbidden"),
    }
    answer = await (await client.get("/api/leads?limit=0", headers=root)).json()
    assert [(e["in"], e["pointer"]) for e in answer["errors"]] == [("query", "#/limit")]
    headers = root | {"Idempotency-Key": "\u00e9"}
    answer = await (
        await client.post("/api/leads", json={"first_name": "A", "phone": "617-555-0123"}, headers=headers)
    ).json()
    assert [(e["in"], e["pointer"]) for e in answer["errors"]] == [("header", "#/Idempotency-Key")]


async def test_a_thousand_mistakes_are_not_all_repeated(client: Client, root: dict[str, str]) -> None:
    answer = await client.post("/api/leads", json={f"f{n}": 1 for n in range(300)}, headers=root)
    assert answer.status == 422
    assert len((await answer.json())["errors"]) == 50


async def test_a_small_body_that_unpacks_to_a_large_one_is_413(client: Client, root: dict[str, str]) -> None:
    packed = zlib.compress(b'{"first_name": "' + b"a" * 1_000_000 + b'"}')
    assert len(packed) < 2000
    headers = root | {"Content-Type": "application/json", "Content-Encoding": "deflate"}
    async with client.post("/api/leads", data=packed, headers=headers) as answer:
        assert answer.status == 413


async def announced(client: Client, row: Route, size: int, headers: dict[str, str]) -> int:
    """The answer's status when a body of this size is announced and not one byte of it comes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    path = row.path.replace("{id}", "00000000-0000-0000-0000-000000000000")
    head = headers | {"Host": "test", "Content-Type": row.consumes, "Content-Length": str(size)}
    lines = [f"{row.method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items()), "", ""]
    writer.write("\r\n".join(lines).encode())
    try:
        status = await asyncio.wait_for(reader.readline(), 30)
        return int(status.split()[1])
    finally:
        writer.close()


@pytest.mark.parametrize("row", [row for row in TABLE if row.body_limit], ids=lambda row: row.path)
async def test_a_body_beyond_its_routes_limit_is_413_before_it_comes(
    client: Client, root: dict[str, str], visitor: dict[str, str], row: Route
) -> None:
    headers = visitor if row.auth == "visitor" else root
    assert await announced(client, row, largest_body(row, BODY_LIMIT_BYTES) + 1, headers) == 413


def nested(depth: int) -> bytes:
    return b'{"text":' * (depth - 1) + b"[]" + b"}" * (depth - 1)


#: Whoever signs is told no more than that the body is not acceptable: see the tests of webhooks.
TOLD = [row for row in TABLE if row.body and row.auth != "signature"]


@pytest.mark.parametrize("row", TOLD, ids=lambda row: row.path)
async def test_a_body_is_read_down_to_its_routes_depth_and_not_beyond(
    client: Client, root: dict[str, str], visitor: dict[str, str], row: Route
) -> None:
    path = row.path.replace("{id}", "00000000-0000-0000-0000-000000000000")
    headers = (visitor if row.auth == "visitor" else root) | {"Content-Type": JSON}
    said = []
    for depth in (row.body_depth, row.body_depth + 1):
        async with client.request(row.method, path, data=nested(depth), headers=headers) as answer:
            said.append((answer.status, (await answer.json())["detail"]))
    (allowed, _), refused = said
    assert (allowed, *refused) == (422, 400, f"nested deeper than {row.body_depth}")


@pytest.mark.parametrize("row", [row for row in TABLE if row.body or row.consumes != JSON], ids=lambda row: row.path)
async def test_a_form_with_files_is_not_taken_anywhere(
    client: Client, root: dict[str, str], visitor: dict[str, str], row: Route
) -> None:
    form = FormData()
    form.add_field("file", b"x", filename="a.csv", content_type="text/csv")
    path = row.path.replace("{id}", "00000000-0000-0000-0000-000000000000")
    headers = visitor if row.auth == "visitor" else root
    async with client.request(row.method, path, data=form, headers=headers) as answer:
        assert answer.status in {404, 406, 415}, await answer.text()
