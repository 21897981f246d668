"""Rules of single fields whose form is worth a sentence: a pattern of the schema would only be quoted as it is."""

from collections.abc import Callable, Iterable
from typing import Final

from ccl_operator.api import forms
from ccl_operator.api.rule import Rule
from ccl_operator.api.v1alpha1 import Spec
from ccl_operator.api.values import duration, milliseconds, whole_bytes

#: The service takes no smaller limit of a body, and none beyond what it takes as an import.
BODY: Final = ("1Ki", "100Mi")
#: A fresh cluster of PostgreSQL has 40 MB.
VOLUME: Final = ("64Mi", "1000Ti")


def _rule(
    field: str,
    cel: Callable[[str], str],
    judge: Callable[[str], bool],
    pick: Callable[[Spec], Iterable[str | None]],
    message: str,
) -> Rule:
    """``field``: path below the specification, with ``[]`` behind a list; ``pick`` gives its values, None: absent."""
    *parents, last = field.removesuffix("[]").split(".")
    here = f"self.{last}"
    judged = f"{here}.all(v, {cel('v')})" if field.endswith("[]") else cel(here)
    return Rule(
        path=("spec", *parents),
        cel=f"!has({here}) || {judged}",
        message=f"{field.removesuffix('[]')} {message}",
        holds=lambda _, spec: all(judge(value) for value in pick(spec) if value is not None),
    )


def _form(
    field: str,
    pattern: str,
    pick: Callable[[Spec], Iterable[str | None]],
    message: str,
    judge: Callable[[str], bool] | None = None,
) -> Rule:
    """``judge`` where there is more to know than the pattern says."""
    judge = judge or (lambda text: forms.has_form(text, pattern))
    return _rule(field, lambda value: forms.cel_matches(value, pattern), judge, pick, message)


def _size(field: str, pick: Callable[[Spec], Iterable[str | None]], least: str, most: str) -> Rule:
    return _rule(
        field,
        lambda value: (
            f"quantity({value}).compareTo(quantity('{least}')) >= 0"
            f" && quantity({value}).compareTo(quantity('{most}')) <= 0"
        ),
        lambda text: whole_bytes(least) <= whole_bytes(text) <= whole_bytes(most),
        pick,
        f"must be from {least} to {most}",
    )


def _span(field: str, pick: Callable[[Spec], str | None], least: str, most: str) -> Rule:
    # CEL reads no days, though a value may have them.
    low, high = (f"duration('{milliseconds(bound)}ms')" for bound in (least, most))
    return _rule(
        field,
        lambda value: f"{value} >= {low} && {value} <= {high}",
        lambda text: duration(least) <= duration(text) <= duration(most),
        lambda spec: [pick(spec)],
        f"must be from {least} to {most}",
    )


def _name(field: str, pick: Callable[[Spec], Iterable[str | None]]) -> Rule:
    message = "must be a DNS name in lower case, such as loans.example.com: no address, no empty label"
    return _form(field, forms.DNS_NAME, pick, message)


def _url(field: str, pick: Callable[[Spec], Iterable[str | None]]) -> Rule:
    message = (
        "must be http:// or https:// with a host, perhaps a port from 1 to 65535 and a path, without user or fragment"
    )
    return _form(field, forms.URL, pick, message)


FIELD_RULES: Final[tuple[Rule, ...]] = (
    _name("http.host", lambda spec: [spec.http.host]),
    _name("secrets.mailgun.domain", lambda spec: [spec.secrets.mailgun.domain] if spec.secrets.mailgun else []),
    _url("secrets.mailgun.baseUrl", lambda spec: [spec.secrets.mailgun.base_url] if spec.secrets.mailgun else []),
    _url("secrets.openai.baseUrl", lambda spec: [spec.secrets.openai.base_url] if spec.secrets.openai else []),
    _url("monitoring.otlpEndpoint", lambda spec: [spec.monitoring.otlp_endpoint] if spec.monitoring else []),
    _form(
        "http.corsOrigins[]",
        forms.ORIGIN,
        lambda spec: spec.http.cors_origins,
        "takes * or origins as browsers write them: https://host or https://host:port, ports 1 to 65535, no path",
    ),
    _rule(
        "http.trustProxy.cidrs[]",
        forms.cel_network,
        forms.is_network,
        lambda spec: (spec.http.trust_proxy and spec.http.trust_proxy.cidrs) or (),
        "takes networks such as 10.0.0.0/8 without bits behind the prefix (10.0.0.1/8 has some), or single addresses",
    ),
    _size("http.bodyLimit", lambda spec: [spec.http.body_limit], *BODY),
    _size(
        "database.embedded.storage",
        lambda spec: [spec.database.embedded.storage] if spec.database.embedded else [],
        *VOLUME,
    ),
    _size(
        "backup.destination.pvc.size",
        lambda spec: [spec.backup.destination.pvc.size] if spec.backup else [],
        *VOLUME,
    ),
    _span("database.pool.idleTimeout", lambda spec: spec.database.pool.idle_timeout, "0s", "24h"),
    _span("database.pool.connectTimeout", lambda spec: spec.database.pool.connect_timeout, "100ms", "1h"),
    _span("migration.timeout", lambda spec: spec.migration.timeout, "10s", "24h"),
    _span("promotion.minReady", lambda spec: spec.promotion.min_ready, "0s", "12h"),
    _span("promotion.deadline", lambda spec: spec.promotion.deadline, "10s", "24h"),
    _span("secrets.rotateAfter", lambda spec: spec.secrets.rotate_after, "24h", "730d"),
    _rule(
        "networkPolicy.allowFrom[]",
        lambda value: (
            f"!has({value}.ipBlock) || isCIDR({value}.ipBlock.cidr) && {forms.cel_network(f'{value}.ipBlock.cidr')}"
        ),
        forms.is_block,
        lambda spec: [
            peer.ip_block.cidr
            for peer in (spec.network_policy.allow_from if spec.network_policy else ())
            if peer.ip_block is not None
        ],
        "takes in ipBlock.cidr a network such as 10.0.0.0/8 without bits behind the prefix",
    ),
    _form(
        "mail.from",
        forms.SENDER,
        lambda spec: [spec.mail.from_],
        "must hold an address: cathy@mg.example.com, or Cathy <cathy@mg.example.com>; quote a name with marks in it",
    ),
    _form(
        "backup.schedule",
        forms.CRON,
        lambda spec: [spec.backup.schedule] if spec.backup else [],
        "must be a cron expression of five fields that names a time: minute 0-59, hour 0-23, day 1-31,"
        " month 1-12 or JAN-DEC, weekday 0-6 or SUN-SAT",
        forms.is_schedule,
    ),
    _form(
        "backup.timeZone",
        forms.TIME_ZONE,
        lambda spec: [spec.backup.time_zone] if spec.backup else [],
        "must be the IANA name of a time zone, such as America/Chicago",
        forms.is_time_zone,
    ),
)
