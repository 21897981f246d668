"""The document of the table that ships."""

from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient

from ccl_service.main import FEATURES

Client = TestClient[web.Request, web.Application]


def references(node: Any) -> set[str]:
    if isinstance(node, dict):
        own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return own.union(*(references(v) for v in node.values()))
    if isinstance(node, list):
        return set().union(*(references(v) for v in node))
    return set()


async def test_every_route_is_in_the_document_and_every_reference_leads_somewhere(client: Client) -> None:
    document = await (await client.get("/api/openapi.json")).json()
    for feature in FEATURES:
        for route in feature.routes:
            assert route.method.lower() in document["paths"][route.path]
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert references(document) - known == set()


async def test_what_needs_a_key_says_so(client: Client) -> None:
    paths = (await (await client.get("/api/openapi.json")).json())["paths"]
    assert paths["/api/leads"]["post"]["security"] == [{"bearerKey": []}, {"apiKey": []}]
    assert paths["/api/leads"]["post"]["responses"].keys() == {"201", "default"}
    assert paths["/api/chat"]["post"]["security"] == [{"visitorToken": []}]
    assert paths["/live"]["get"]["security"] == []
