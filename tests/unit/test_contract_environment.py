"""What a CclDeployment may say, the service starts with."""

import copy
import ipaddress
import re
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ccl_operator.api import forms
from ccl_operator.api.rules import violations
from ccl_operator.api.v1alpha1 import parse_spec
from ccl_operator.environment import render
from ccl_service.mail.checks import mail_sender
from ccl_service.platform.checks.verdict import FAIL
from ccl_service.platform.config import load_settings
from tests.unit.operator.samples import SPEC

DURATIONS = st.one_of(
    st.integers(100, 999_999).map(lambda number: f"{number}ms"),
    st.integers(1, 3600).map(lambda number: f"{number}s"),
    st.integers(0, 59).map(lambda number: f"{number}m30s"),
)
POOLS = st.fixed_dictionaries(
    {}, optional={"size": st.integers(1, 200), "idleTimeout": DURATIONS, "connectTimeout": DURATIONS}
)
LIMITS = st.fixed_dictionaries(
    {}, optional={"windowSeconds": st.integers(1, 3600), "maxRequests": st.integers(1, 1_000_000)}
)
SECRETS = {
    "DATABASE_URL": "postgresql://db/ccl",
    "INTERNAL_API_KEY": "i" * 32,
    "JWT_SECRET": "j" * 32,
    "SESSION_SECRET": "s" * 32,
    "MAILGUN_API_KEY": "key-1",
    "OPENAI_API_KEY": "sk-1",
}


def environ(spec: dict[str, Any]) -> dict[str, str]:
    """What the container gets; keys by value, because there is no mounted file here."""
    rendered = render(parse_spec({"spec": spec}), revision="0123456789", deployment_id="identity")
    return {name: value for name, value in rendered.items() if not name.endswith("_FILE")} | SECRETS


@given(pool=POOLS, limit=LIMITS, hops=st.integers(1, 10) | st.none())
def test_every_pool_limit_and_number_of_proxies_that_the_crd_takes_starts(
    pool: dict[str, Any], limit: dict[str, Any], hops: int | None
) -> None:
    spec = copy.deepcopy(SPEC)
    spec["database"]["pool"] = pool
    spec["http"] |= {"rateLimit": limit} | ({"trustProxy": {"hops": hops}} if hops else {})
    settings = load_settings(environ(spec))
    assert settings.production
    assert timedelta(milliseconds=settings.db_idle_timeout_ms) >= timedelta(0)
    assert timedelta(milliseconds=settings.db_connect_timeout_ms) > timedelta(0)
    assert settings.trust_proxy.hops == (hops or 0)


def texts(pattern: str, longest: int) -> st.SearchStrategy[str]:
    """Texts of a form, of the length that the field takes."""
    return st.from_regex(re.compile(pattern, re.ASCII), fullmatch=True).filter(lambda text: len(text) <= longest)


NETWORKS = st.ip_addresses().map(str) | st.builds(
    lambda address, bits: str(ipaddress.ip_network((address, bits), strict=False)),
    st.ip_addresses(),
    st.integers(0, 32),
)


# Texts of long patterns take their time on a busy machine.
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    host=texts(forms.DNS_NAME, 253),
    origins=st.lists(texts(forms.ORIGIN, 300).filter(lambda text: text != "*"), min_size=1, max_size=3),
    url=texts(forms.URL, 512),
    networks=st.lists(NETWORKS, min_size=1, max_size=3),
    sender=texts(forms.SENDER, 512),
)
def test_every_name_origin_url_network_and_sender_that_the_crd_takes_starts(
    host: str, origins: list[str], url: str, networks: list[str], sender: str
) -> None:
    spec = copy.deepcopy(SPEC)
    spec["http"] |= {"host": host, "corsOrigins": origins, "trustProxy": {"cidrs": networks}}
    spec["secrets"]["mailgun"] |= {"domain": host, "baseUrl": url}
    spec["secrets"]["openai"]["baseUrl"] = url
    spec["monitoring"] = {"otlpEndpoint": url}
    spec["mail"]["from"] = sender
    assert violations("ccl", parse_spec({"spec": spec})) == ()
    settings = load_settings(environ(spec))
    assert settings.mailgun_domain == host
    assert len(settings.cors_origin) == len(origins)
    assert len(settings.trust_proxy.networks) == len(networks)
    assert settings.otel_exporter_otlp_endpoint == url.rstrip("/")
    assert mail_sender(settings).status is not FAIL


def test_nothing_that_the_operator_renders_looks_misspelt() -> None:
    assert load_settings(environ(SPEC)).provenance.misspelt == ()
