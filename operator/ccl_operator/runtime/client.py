"""The one door to the API server: raw JSON objects in and out over ``kubernetes.aio``, time-outs, pace, own errors.

Paths come from ``Resource``, never from discovery. No retries here: who calls knows whether and when (``queue``,
``reflector``). Which permissions these calls need is in ``rbac``.
"""

import json
import socket
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, cast
from urllib.parse import quote, urlencode

import aiohttp
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.rest import RESTClientObject

from ccl_operator import names
from ccl_operator.actions import Manifest, Resource
from ccl_operator.config import Pace
from ccl_operator.runtime.errors import (
    Answer,
    Forbidden,
    Gone,
    NotFound,
    NotLeading,
    TryLater,
    Unreachable,
    from_answer,
)
from ccl_operator.runtime.metrics import Metrics
from ccl_operator.runtime.pace import TokenBucket
from ccl_operator.runtime.permit import Permit, Unlimited
from ccl_operator.runtime.rbac import EVENT, LEASE, SELF_ACCESS_REVIEW
from ccl_operator.runtime.store import Place, place

#: The library's default is five minutes.
REQUEST_TOTAL: Final = 10.0
REQUEST: Final = aiohttp.ClientTimeout(total=REQUEST_TOTAL, connect=5.0)
#: A renewal that waits longer is better tried again.
LEASE_REQUEST: Final = aiohttp.ClientTimeout(total=3.0, connect=2.0)
#: Together with the ten seconds of ``lease.WRITE_FOR`` less than the fifteen after which others write.
UNDELIVERED_MS: Final = 4_000
WATCH_SECONDS: Final = 240
#: Bookmarks come about every minute; a stream that is silent for longer is taken for dead.
WATCH: Final = aiohttp.ClientTimeout(total=WATCH_SECONDS + 30.0, sock_connect=5.0, sock_read=100.0)
#: Objects: small enough that pages of all kinds on their way at once, at the start, are no burden.
PAGE: Final = 250
#: After a pause so many seconds' requests may go at once.
SAVED_UP: Final = 2.0

METHODS: Final = {"create": "POST", "update": "PUT", "patch": "PATCH", "delete": "DELETE"}
#: Written by who does not lead (yet).
UNGUARDED: Final = frozenset({LEASE, SELF_ACCESS_REVIEW})

Json = dict[str, Any]


@dataclass(frozen=True)
class WatchEvent:
    """One line of a watch; ``object`` of a BOOKMARK carries a resourceVersion only."""

    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
    object: Json


@dataclass(frozen=True)
class Listing:
    """A complete one: where there were objects, as of ``resource_version``, from which to watch."""

    places: Set[Place]
    resource_version: str


def path(resource: Resource, namespace: str | None, name: str | None = None, subresource: str | None = None) -> str:
    """The URL path; ``namespace`` None means all namespaces, or a kind that has none."""
    start = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
    parts = [start]
    if namespace is not None:
        parts += ["namespaces", quote(namespace, safe="")]
    parts.append(resource.plural)
    parts += [quote(part, safe="") for part in (name, subresource) if part is not None]
    return "/".join(parts)


@dataclass(frozen=True)
class Request:
    """One HTTP request; ``verb`` is the permission's verb, not the method."""

    verb: Literal["get", "list", "watch", "create", "update", "patch", "delete"]
    resource: Resource
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Manifest | Sequence[Manifest] | None = None
    content_type: str = "application/json"

    @property
    def method(self) -> str:
        """HTTP method."""
        return METHODS.get(self.verb, "GET")

    @property
    def reads(self) -> bool:
        """Whether nothing is stored; a review is a question that comes as a POST."""
        return self.method == "GET" or self.resource == SELF_ACCESS_REVIEW

    def __str__(self) -> str:
        return f"{self.verb} {self.path}"


class _Rest(RESTClientObject):  # type: ignore[misc]  # the library is untyped
    """The library's HTTP layer on sockets of our own."""

    def _create_connector(self) -> aiohttp.TCPConnector:
        return aiohttp.TCPConnector(limit=self.maxsize, ssl=self.ssl_context, socket_factory=_socket)


def _socket(address: aiohttp.AddrInfoType) -> socket.socket:
    family, kind, protocol, *_ = address
    found = socket.socket(family, kind, protocol)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        # Else the kernel would go on trying to deliver a write long after we gave it up, the process's end included.
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNDELIVERED_MS)
    return found


class Client:
    """Use as an async context manager. ``clock`` is monotonic, in seconds.

    Every write needs the ``permit`` and is given up when that ends. ``identity`` tells replicas apart in audit logs.
    """

    def __init__(
        self,
        configuration: Any,
        metrics: Metrics,
        clock: Callable[[], float],
        *,
        permit: Permit | None = None,
        identity: str = "",
        pace: Pace | None = None,
    ) -> None:
        # One connection per watch stays open: a limit could let them starve the requests.
        configuration.connection_pool_maxsize = 0
        self._api = ApiClient(configuration)
        self._api.rest_client = _Rest(configuration)
        self._api.user_agent = f"{names.FIELD_MANAGER}/{identity}" if identity else names.FIELD_MANAGER
        self._metrics, self._permit, self._clock = metrics, permit or Unlimited(), clock
        pace = pace or Pace()
        # Apart, because a name is looked at before it is first written.
        self._writes, self._reads, self._events = (
            TokenBucket(rate, SAVED_UP * rate, clock) for rate in (pace.writes, pace.reads, pace.events)
        )

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._api.close()

    async def get(self, resource: Resource, namespace: str, name: str) -> Json:
        """One object. Raises NotFound, Forbidden, TryLater."""
        return await self._call(Request("get", resource, path(resource, namespace, name)))

    async def list(
        self, resource: Resource, namespace: str | None, selector: str = "", *, each: Callable[[Json], None]
    ) -> Listing:
        """Hand every object of a collection to ``each``, so that never more than a page of them is in memory.

        Raises Gone when the continue token expired, Forbidden, TryLater; ``each`` may have seen a part by then.
        """
        query = {"limit": str(PAGE)} | ({"labelSelector": selector} if selector else {})
        request = Request("list", resource, path(resource, namespace), query)
        # Items of a typed list come without apiVersion and kind.
        named = {"apiVersion": resource.api_version, "kind": resource.kind}
        places: set[Place] = set()
        while True:
            page = await self._call(request)
            for item in page.pop("items", None) or ():
                places.add(place(item))
                each(named | item)
            metadata = page["metadata"]
            if not metadata.get("continue"):
                return Listing(places, str(metadata["resourceVersion"]))
            request = replace(request, query=query | {"continue": metadata["continue"]})

    async def watch(
        self, resource: Resource, namespace: str | None, selector: str, resource_version: str
    ) -> AsyncGenerator[WatchEvent, None]:
        """Changes after ``resource_version``, with bookmarks, until the server ends the stream (after four minutes).

        Raises Gone (list again), Forbidden, TryLater. Not paced: a watch is opened once in minutes.
        """
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(WATCH_SECONDS),
        } | ({"labelSelector": selector} if selector else {})
        request = Request("watch", resource, path(resource, namespace), query)
        answer = await self._send(request, WATCH)
        try:
            while line := await answer.content.readline():
                yield _watch_event(request, line)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise _unreachable(request, error) from error
        finally:
            answer.close()

    async def apply(self, resource: Resource, manifest: Manifest, *, subresource: str | None = None) -> Json:
        """Server-side apply as our field manager, taking over fields others set. With a resourceVersion in the manifest
        it is refused (Conflict) when the object has another. Raises Refused, Forbidden, NamespaceTerminating, TryLater.

        Source: kubernetes.io, "Server-Side Apply", using it in a controller.
        """
        metadata = manifest["metadata"]
        where = path(resource, metadata["namespace"], metadata["name"], subresource)
        query = {"fieldManager": names.FIELD_MANAGER, "force": "true"}
        return await self._call(Request("patch", resource, where, query, manifest, "application/apply-patch+yaml"))

    async def patch(self, resource: Resource, namespace: str, name: str, operations: Sequence[Manifest]) -> Json:
        """A JSON patch (RFC 6902). Raises Conflict, NotFound, Refused, Forbidden, TryLater."""
        query = {"fieldManager": names.FIELD_MANAGER}
        where = path(resource, namespace, name)
        return await self._call(Request("patch", resource, where, query, operations, "application/json-patch+json"))

    async def create(self, resource: Resource, namespace: str | None, manifest: Manifest) -> Json:
        """POST a new object. Raises Refused, Forbidden, TryLater."""
        return await self._call(Request("create", resource, path(resource, namespace), body=manifest))

    async def replace(self, resource: Resource, manifest: Manifest) -> Json:
        """PUT over the object of the same name and resourceVersion. Raises Conflict, NotFound, Refused, TryLater."""
        metadata = manifest["metadata"]
        where = path(resource, metadata["namespace"], metadata["name"])
        return await self._call(Request("update", resource, where, body=manifest))

    async def delete(self, resource: Resource, namespace: str, name: str, *, uid: str, resource_version: str) -> Json:
        """Delete exactly that object, its dependents in the background.

        Returns the object when it still has to finish, else a Status. Raises NotFound, Conflict, Forbidden, TryLater.
        """
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": {"uid": uid, "resourceVersion": resource_version},
        }
        return await self._call(Request("delete", resource, path(resource, namespace, name), body=options))

    async def discovers(self, resource: Resource) -> bool:
        """Whether the API server tells of this kind, of a named group, in its discovery documents. Raises TryLater.

        They lag behind the CRD by a second or more, and a library that reads them once (kopf) then stays blind.
        """
        groups = await self._call(Request("get", resource, "/apis"))
        if resource.group not in {group["name"] for group in groups["groups"]}:
            return False
        try:
            found = await self._call(Request("get", resource, f"/apis/{resource.group}/{resource.version}"))
        except NotFound:
            return False
        return resource.plural in {one["name"] for one in found["resources"]}

    async def _call(self, request: Request) -> Json:
        if (budget := self._budget(request)) is not None:
            await budget.take()
        answer = await self._send(request, self._patience(request))
        try:
            return cast(Json, json.loads(await answer.read()))
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise _unreachable(request, error) from error

    def _budget(self, request: Request) -> TokenBucket | None:
        """What the request is paced by; None: it goes at once."""
        if request.resource == LEASE:
            return None
        if request.reads:
            return self._reads
        return self._events if request.resource == EVENT else self._writes

    def _patience(self, request: Request) -> aiohttp.ClientTimeout:
        """How long the request may take. Raises NotLeading for a write that must not begin."""
        if request.resource in UNGUARDED or request.method == "GET":
            return LEASE_REQUEST if request.resource == LEASE else REQUEST
        remaining = self._permit.remaining()
        if remaining <= 0:
            raise NotLeading(str(request), "this process does not hold the lease")
        return REQUEST if remaining >= REQUEST_TOTAL else aiohttp.ClientTimeout(total=remaining)

    async def _send(self, request: Request, timeout: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
        """The answer with its body unread. Raises what ``from_answer`` makes of anything but 2xx, and Unreachable."""
        query = f"?{urlencode(request.query)}" if request.query else ""
        url = f"{self._api.configuration.host}{request.path}{query}"
        code, started = 0, self._clock()
        try:
            sent = await self._api.rest_client.request(
                request.method, url, await self._headers(request), request.body, _request_timeout=timeout
            )
            answer = cast(aiohttp.ClientResponse, sent.response)
            code = answer.status
            if code < 300:
                return answer
            raw = await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _unreachable(request, error) from error
        finally:
            self._metrics.api_requests.labels(request.verb, request.resource.plural, str(code)).inc()
            self._metrics.api_seconds.labels(request.verb).observe(self._clock() - started)
        refusal = from_answer(str(request), Answer(code, answer.headers.get("Retry-After"), _decoded(raw)))
        if isinstance(refusal, Forbidden):
            self._metrics.forbidden.labels(request.resource.plural).inc()
        raise refusal

    async def _headers(self, request: Request) -> dict[str, str]:
        headers = {
            "Accept": "application/json",
            "Content-Type": request.content_type,
            "User-Agent": self._api.user_agent,
        }
        # The token of a pod rotates; the library reads it again from its file.
        await self._api.update_params_for_auth(headers, [], ["BearerToken"], request.path, request.method, request.body)
        return headers


def _unreachable(request: Request, error: Exception) -> Unreachable:
    return Unreachable(str(request), f"{type(error).__name__}: {error}")


def _decoded(raw: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(raw)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _watch_event(request: Request, line: bytes) -> WatchEvent:
    event = json.loads(line)
    if event["type"] != "ERROR":
        return WatchEvent(event["type"], event["object"])
    status = event["object"]
    message = str(status.get("message", "error in the stream"))
    if status.get("code") == 410:
        raise Gone(str(request), message)
    raise TryLater(str(request), message)
