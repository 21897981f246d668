"""Lets a request in: limits first, so that guessing is limited too; then the credentials that its route asks for.

Who is counted: an address, unless the caller has shown to be a conversation or a scoped key, which have limits of
their own. Routes without a limit look no key up, so that probes never wait for the database.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from aiohttp import web

from ccl_service.platform.api_keys.directory import Directory
from ccl_service.platform.api_keys.model import Grant, prefix_of
from ccl_service.platform.auth import PRINCIPAL, Principal, permit, presented_key, recognise, verify_visitor
from ccl_service.platform.keys import KeyRing
from ccl_service.platform.limits import Limit, LimitClass, Limiter, Standing
from ccl_service.platform.problems import CclError, Refused, TryLater, Unauthenticated
from ccl_service.platform.route import Auth, Route

#: The caller's address as it counts for limits.
CLIENT: Final = web.RequestKey("client", str)
#: Headers that tell the caller where it stands.
Told = dict[str, str]
_MINUTE: Final = timedelta(minutes=1)
#: The classes that a key's own limit replaces.
_REPLACED: Final = frozenset({LimitClass.DEFAULT, LimitClass.MONITORING})


@dataclass(frozen=True, slots=True)
class Admission:
    """What is needed to let somebody in."""

    keys: KeyRing
    directory: Directory
    limiter: Limiter
    clock: Callable[[], datetime]

    async def admit(self, request: web.Request, route: Route, told: Told) -> None:
        """Count the request and put its principal on it.

        Raises RateLimited, Unauthenticated, Forbidden, MissingScope; TryLater when a key cannot be looked up.
        """
        key = presented_key(request.headers)
        if route.auth is Auth.VISITOR:
            request[PRINCIPAL] = self._visitor(request, key, told)
            return
        grant = await self._grant(request, route, key)
        if grant is not None:
            limit = Limit(grant.per_minute, _MINUTE)
            self._tell(self.limiter.check(LimitClass.KEY, str(grant.key_id), limit), told)
            principal: Principal | None = Principal("key", str(grant.key_id), grant.scopes)
        else:
            self.count(request, route.limit, told)
            principal = recognise(key, self.keys) if key else None
        request[PRINCIPAL] = permit(route, principal, shown=key is not None)

    def count(self, request: web.Request, limit_class: LimitClass, told: Told) -> None:
        """Count a request of this address. Raises RateLimited."""
        if limit_class is LimitClass.FAILURES:
            self._tell(self.limiter.check_failures(request[CLIENT]), told)
        else:
            self._tell(self.limiter.check(limit_class, request[CLIENT]), told)

    def failed(self, request: web.Request, route: Route, error: CclError) -> None:
        """Count a refusal where only those count: a bad signature or token, or what is none at all."""
        if route.limit is LimitClass.FAILURES and isinstance(error, Refused):
            self.limiter.count_failure(request[CLIENT])

    def _visitor(self, request: web.Request, key: str | None, told: Told) -> Principal:
        """One conversation counts as one client: many visitors may share an address, within its ceiling."""
        try:
            if key is None:
                raise Unauthenticated("send the visitor's token as Authorization: Bearer")
            conversation = verify_visitor(self.keys, key, now=self.clock())
        except Unauthenticated:
            self.count(request, LimitClass.DEFAULT, told)
            raise
        self._tell(self.limiter.check_conversation(conversation, request[CLIENT]), told)
        return Principal("visitor", conversation)

    async def _grant(self, request: web.Request, route: Route, key: str | None) -> Grant | None:
        """The scoped key that was shown, when it is valid and the route is one that takes it."""
        prefix = prefix_of(key) if key else None
        if key is None or prefix is None or route.limit not in _REPLACED:
            return None
        client = request[CLIENT]
        if not self.directory.knows(prefix):
            # Each made-up prefix costs a statement: an address that keeps making them up is not asked for. Whoever
            # shares it is let in with a key that has been seen here, and with a new one when the window has ended.
            self.limiter.check_failures(client)
        try:
            grant = await self.directory.grant(prefix, key)
        except TryLater:
            if route.auth is Auth.PUBLIC:
                return None
            raise
        if grant is None:
            self.limiter.count_failure(client)
        return grant

    @staticmethod
    def _tell(standing: Standing | None, told: Told) -> None:
        if standing is not None:
            told.update(standing.headers())
