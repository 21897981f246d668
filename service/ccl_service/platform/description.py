"""What the service says about itself: the OpenAPI document, a page to browse it, a page for each problem.

Everything comes from the route table and the error classes, is made when first asked for, and needs nothing from
outside: no script, no font, one style sheet of our own.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ccl_service.platform.assets import assets
from ccl_service.platform.body import dump_json, json_reply
from ccl_service.platform.bounds import Bounds
from ccl_service.platform.limits import LimitClass
from ccl_service.platform.openapi import document
from ccl_service.platform.openapi_answers import path_of, problems_of
from ccl_service.platform.problems import CclError, NotFound, catalogue, descendants, meaning
from ccl_service.platform.route import Answer, Auth, Header, Priority, Route
from ccl_service.platform.views import OpenApiDocument, ProblemList, ProblemView

_FOLDER: Final = Path(__file__).parent / "templates"
HTML: Final = "text/html"


class Description:
    """Texts about a route table."""

    def __init__(self, table: Sequence[Route], *, version: str, bounds: Bounds) -> None:
        self._table = tuple(table)
        self._version = version
        self._bounds = bounds

    @cached_property
    def document(self) -> Mapping[str, Any]:
        """The OpenAPI document."""
        return document(self._table, version=self._version, bounds=self._bounds)

    @cached_property
    def openapi(self) -> str:
        """The document as JSON."""
        return dump_json(self.document)

    @cached_property
    def api_page(self) -> str:
        """The document as a page."""
        rows = [(row, self.document["paths"][path_of(row)][row.method.lower()]) for row in self._table]
        by_tag: dict[str, list[Mapping[str, Any]]] = {}
        for row, operation in rows:
            own = {str(answer.status) for answer in row.answers}
            answers = {status: told for status, told in operation["responses"].items() if status in own}
            described = {"row": row, "operation": operation, "answers": answers, "problems": problems_of(row)}
            by_tag.setdefault(operation["tags"][0], []).append(described)
        return _render("api.html.j2", document=self.document, tags=by_tag)

    @cached_property
    def problems(self) -> Mapping[str, ProblemView]:
        """Every kind of problem by its code."""
        return {kind.code: _view(kind) for kind in catalogue(descendants(CclError))}

    def problem_page(self, code: str) -> str:
        """One kind as a page. Raises NotFound."""
        return _render("problems.html.j2", problems=[self.problem(code)])

    def problem(self, code: str) -> ProblemView:
        """One kind. Raises NotFound."""
        if code not in self.problems:
            raise NotFound("no problem has this code")
        return self.problems[code]

    @cached_property
    def problems_page(self) -> str:
        """All kinds as a page."""
        return _render("problems.html.j2", problems=list(self.problems.values()))


DESCRIPTION: Final = web.AppKey("description", Description)


async def get_openapi(request: web.Request) -> web.Response:
    """GET /api/openapi.json: 200."""
    return web.Response(text=request.app[DESCRIPTION].openapi, content_type="application/json")


async def get_docs(request: web.Request) -> web.Response:
    """GET /api/docs: 200 a page."""
    return web.Response(text=request.app[DESCRIPTION].api_page, content_type=HTML)


async def get_problems(request: web.Request) -> web.Response:
    """GET /api/problems: 200 a page for browsers, JSON for others."""
    described = request.app[DESCRIPTION]
    if _wants_page(request):
        return web.Response(text=described.problems_page, content_type=HTML, headers={"Vary": "Accept"})
    return json_reply(ProblemList(items=list(described.problems.values())), headers={"Vary": "Accept"})


async def get_problem(request: web.Request) -> web.Response:
    """GET /api/problems/{code}: 200 a page for browsers, JSON for others. Problems: 404."""
    described, code = request.app[DESCRIPTION], request.match_info["code"]
    if _wants_page(request):
        return web.Response(text=described.problem_page(code), content_type=HTML, headers={"Vary": "Accept"})
    return json_reply(described.problem(code), headers={"Vary": "Accept"})


def problem_table(problems: Sequence[ProblemView]) -> str:
    """The kinds as a Markdown table, for the documentation."""
    lines = ["| code | status | meaning | what to do | repeat? |", "|---|---|---|---|---|"]
    for kind in problems:
        repeat = "later" if kind.retryable else "no"
        lines.append(f"| `{kind.code}` | {kind.status} {kind.title} | {kind.meaning} | {kind.remedy} | {repeat} |")
    return "\n".join(lines) + "\n"


def _wants_page(request: web.Request) -> bool:
    return HTML in request.headers.get("Accept", "")


def _view(kind: type[CclError]) -> ProblemView:
    return ProblemView(
        code=kind.code,
        status=kind.status,
        title=kind.title,
        meaning=meaning(kind),
        remedy=kind.remedy,
        retryable=kind.retryable,
    )


def _render(name: str, **values: Any) -> str:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template(name).render(style=assets()["style.css"].url, **values)


def _public(path: str, handler: Any, summary: str, **described: Any) -> Route:
    return Route(
        "GET",
        path,
        handler,
        Auth.PUBLIC,
        LimitClass.DEFAULT,
        priority=Priority.READ,
        summary=summary,
        **described,
    )


#: What both pages of problems have beyond their JSON.
_FOR_BROWSERS: Final[Mapping[str, Any]] = {
    "also": (Answer(produces=HTML),),
    "headers": (Header("Accept", "text/html for a page, anything else for JSON.", "application/json"),),
}

ROUTES: Final = (
    _public("/api/openapi.json", get_openapi, "This document", response=OpenApiDocument),
    _public("/api/docs", get_docs, "This document as a page", produces=HTML),
    _public("/api/problems", get_problems, "Every kind of problem", response=ProblemList, **_FOR_BROWSERS),
    _public("/api/problems/{code}", get_problem, "One kind of problem", response=ProblemView, **_FOR_BROWSERS),
)
