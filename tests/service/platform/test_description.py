"""What the service says about itself, as a browser and a program ask for it."""

import asyncio
import json
import re
import sys
from hashlib import sha256
from html.parser import HTMLParser
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from yarl import URL

from ccl_service.main import route_table

Client = TestClient[web.Request, web.Application]
BROWSER = {"Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"}


@pytest.fixture
def environ(environ: dict[str, str]) -> dict[str, str]:
    """Without limits of its own, so that the document is the one the command prints."""
    return {name: value for name, value in environ.items() if name != "RATE_LIMIT_MAX_REQUESTS"}


class Page(HTMLParser):
    """Collects what a page loads, what it links to, and the ids it has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.inline = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.loads += [found[name] for name in ("src",) if name in found]
        self.loads += [found["href"]] if tag == "link" else []
        self.links += [found["href"]] if tag == "a" else []
        self.ids |= {found["id"]} if "id" in found else set()
        self.inline += tag in {"script", "style"} or "style" in found


async def page(client: Client, path: str) -> Page:
    answer = await client.get(path, headers=BROWSER)
    assert (answer.status, answer.content_type) == (200, "text/html")
    return Page(await answer.text())


@pytest.mark.parametrize("path", ["/api/docs", "/api/problems", "/api/problems/AUTH_001"])
async def test_a_page_loads_nothing_from_outside_and_nothing_that_its_policy_forbids(client: Client, path: str) -> None:
    found = await page(client, path)
    assert found.inline == 0
    (path_of_style,) = found.loads
    assert path_of_style.startswith("/api/static/style.")
    style = await client.get(path_of_style)
    assert (style.status, style.content_type) == (200, "text/css")
    assert "url(" not in await style.text()


async def test_a_file_of_a_page_may_be_kept_for_a_year_under_a_name_that_changes_with_it(client: Client) -> None:
    (path,) = (await page(client, "/api/docs")).loads
    style = await client.get(path)
    assert style.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert sha256(await style.read()).hexdigest().startswith(path.split(".")[1])


@pytest.mark.parametrize(
    "name",
    [
        *("style.css", "style.0123.css", "style.0123456789abcdefg.css", "other.0123456789abcdef.css"),
        *(
            "style.0123456789abcdef.css.css",
            "..%2Ftemplates%2Fbase.html.j2",
            "..%2Fstatic%2Fstyle.0123456789abcdef.css",
        ),
    ],
)
async def test_no_other_name_leads_to_a_file(client: Client, name: str) -> None:
    assert (await client.get(URL(f"/api/static/{name}", encoded=True))).status == 404


async def test_the_page_of_another_version_gets_the_file_as_it_is_here_and_no_cache_keeps_it_under_that_name(
    client: Client,
) -> None:
    (path,) = (await page(client, "/api/docs")).loads
    ours = await client.get(path)
    theirs = await client.get("/api/static/style.0123456789abcdef.css")
    assert (theirs.status, theirs.content_type) == (200, "text/css")
    assert await theirs.read() == await ours.read()
    assert theirs.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["/api/docs", "/api/problems", "/api/problems/AUTH_001"])
async def test_every_link_of_a_page_leads_somewhere(client: Client, path: str) -> None:
    found = await page(client, path)
    for link in set(found.links):
        if link.startswith("#"):
            assert link[1:] in found.ids
        else:
            assert (await client.get(link)).status == 200, link


async def test_the_page_shows_every_route(client: Client) -> None:
    text = await (await client.get("/api/docs")).text()
    for row in route_table():
        assert f"<b>{row.method}</b> <code>{row.path}</code>" in text


async def test_the_type_of_a_problem_leads_to_its_page(client: Client) -> None:
    problem = await (await client.get("/nowhere")).json()
    shown = await (await client.get(problem["type"])).json()
    assert (shown["code"], shown["status"], shown["title"]) == ("NOT_FOUND_001", 404, problem["title"])
    assert shown["meaning"]
    assert shown["remedy"]
    text = await (await client.get(problem["type"], headers=BROWSER)).text()
    assert shown["remedy"] in text.replace("&#39;", "'")


async def test_an_unknown_problem_is_a_problem(client: Client) -> None:
    for headers in ({}, BROWSER):
        for code in ("NOPE_999", "%3Cscript%3E"):
            answer = await client.get(f"/api/problems/{code}", headers=headers)
            assert (answer.status, (await answer.json())["code"]) == (404, "NOT_FOUND_001")
            assert answer.content_type == "application/problem+json"


async def test_a_cache_keeps_the_page_and_the_json_of_a_problem_apart(client: Client) -> None:
    answer = await client.get("/api/problems")
    assert answer.headers["Vary"] == "Accept, Origin"


async def test_the_document_lists_the_very_routes_that_are_served(client: Client) -> None:
    document: dict[str, Any] = await (await client.get("/api/openapi.json")).json()
    listed = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    served = {
        (route.method, re.sub(r"{(\w+):[^}]*}", r"{\1}", route.resource.canonical))
        for route in client.app.router.routes()
        if route.resource is not None
    }
    assert listed == served


async def test_the_command_prints_the_document_that_is_served(client: Client) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ccl_service", "openapi", stdout=asyncio.subprocess.PIPE
    )
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0
    assert json.loads(out) == await (await client.get("/api/openapi.json")).json()
