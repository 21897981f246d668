"""Plugs mail into the process: settings into policy, the provider's client, the loop that sends. Opens before leads."""

import contextlib
import random
from collections.abc import AsyncIterator, Sequence
from typing import Final, TypeVar
from uuid import uuid4

import aiohttp
from aiohttp import web

from ccl_service.leads.api import FIRST_CONTACT
from ccl_service.mail.api import ROUTES
from ccl_service.mail.checks import mail_checks
from ccl_service.mail.jobs import Policy, send_loop
from ccl_service.mail.provider import Mailgun, open_session
from ccl_service.mail.provider_log import MailgunLog
from ccl_service.mail.reconcile import Reconciler
from ccl_service.mail.service import FirstContacts
from ccl_service.mail.sql import SENDS
from ccl_service.mail.watched import WatchedProvider
from ccl_service.platform.config import Settings
from ccl_service.platform.dependencies import MAILGUN
from ccl_service.platform.http import DB, KEYS, METRICS, SETTINGS
from ccl_service.platform.lifecycle import Feature, Worker
from ccl_service.platform.monitoring import CHECKS, PROBE
from ccl_service.platform.observability import DEPENDENCIES


def policy_of(settings: Settings) -> Policy:
    """What the settings say about outbound mail. The allow-list counts outside production only."""
    return Policy(
        sender=settings.mail_from or (f"postmaster@{settings.mailgun_domain}" if settings.mailgun_domain else None),
        postal_address=settings.mail_postal_address,
        link_base=settings.link_base,
        deployment=settings.ccl_deployment_id,
        allowlist=None if settings.production else settings.outbound_allowlist,
        account=f"{settings.mailgun_base_url}/{settings.mailgun_domain}" if settings.mailgun_domain else None,
    )


P = TypeVar("P", Mailgun, MailgunLog)


def _client(kind: type[P], settings: Settings, session: aiohttp.ClientSession) -> P | None:
    if settings.mailgun_api_key is None or settings.mailgun_domain is None:
        return None
    return kind(
        session,
        base_url=settings.mailgun_base_url,
        domain=settings.mailgun_domain,
        api_key=settings.mailgun_api_key.get_secret_value(),
    )


@contextlib.asynccontextmanager
async def open_mail(app: web.Application) -> AsyncIterator[Sequence[Worker]]:
    """The start of first contacts, and the loop that sends."""
    settings, policy = app[SETTINGS], policy_of(app[SETTINGS])
    async with open_session() as session, mail_checks(app[CHECKS], settings, app[DB]):
        client, count = _client(Mailgun, settings, session), app[METRICS].count
        provider = WatchedProvider(client, app[DEPENDENCIES].add(MAILGUN)) if client else None
        loop = send_loop(
            app[DB],
            provider,
            policy=policy,
            keys=app[KEYS],
            # Jitter spreads retries; nothing secret hangs on it.
            jitter=random.random,
            count=count,
            resting=provider.resting if provider else lambda: None,
            fits=app[PROBE].fits,
        )
        app[FIRST_CONTACT] = FirstContacts(new_id=uuid4, wake=loop.wake, count=count)
        workers = [Worker("sends", loop.run)]
        if (provider_log := _client(MailgunLog, settings, session)) and policy.account:
            settling = Reconciler(
                app[DB],
                provider_log,
                account=policy.account,
                deployment=policy.deployment,
                count=count,
                fits=app[PROBE].fits,
            )
            workers.append(Worker("unknown-sends", settling.run))
        yield workers


FEATURE: Final = Feature("mail", ROUTES, open_mail, tables=(SENDS,))
