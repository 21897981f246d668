"""Keys, credentials and the values that referenced Secrets hold: generation, adoption, judgement. Pure.

Randomness comes in as ``entropy``; no message ever holds a value. The per-object key of all HMACs is ``hash-key`` in
``<name>-keys``: it is kept with the keys, so that a new object of the same name arrives at the same revisions.
"""

import base64
import binascii
import hashlib
import hmac
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from ccl_contract.keys import DEPLOYMENT_ID, Key, KeyFile, KeyState
from ccl_contract.strength import MONITOR, weaknesses
from ccl_contract.urls import POSTGRES, REDIS, UrlRefused, parse_dsn, parse_url
from ccl_operator.actions import Manifest
from ccl_operator.api.shape import SecretKeySelector
from ccl_operator.api.v1alpha1 import KeySource, Spec
from ccl_operator.environment import KEY_FILES, MONITOR_TOKEN, generated_keys, urls
from ccl_operator.manifests import pooler

HASH_KEY: Final = "hash-key"
DATABASE: Final = "ccl"
#: Bytes of entropy that one pass may use: three keys with their ids, identity, HMAC key, password, token.
ENTROPY_BYTES: Final = 256
_SCHEMES: Final[Mapping[str, tuple[str, ...]]] = {
    "DATABASE_URL": POSTGRES,
    "DATABASE_DIRECT_URL": POSTGRES,
    "DATABASE_REPLICA_URLS": POSTGRES,
    "REDIS_URL": REDIS,
}


@dataclass(frozen=True)
class External:
    """Good values by variable; ``problems`` names what is wrong, in order; ``unread`` Secrets were not read yet."""

    values: Mapping[str, str]
    problems: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()


def decoded(secret: Manifest | None) -> dict[str, str]:
    """Data of a Secret as text, without a trailing line break; what is not UTF-8 is left out."""
    found: dict[str, str] = {}
    for key, value in ((secret or {}).get("data") or {}).items():
        try:
            found[key] = base64.b64decode(value, validate=True).decode().rstrip("\r\n")
        except (binascii.Error, ValueError):
            continue
    return found


def keys_data(present: Mapping[str, str], spec: Spec, *, entropy: bytes, now: datetime) -> dict[str, str]:
    """Data of ``<name>-keys``: what is there is kept, what is missing is made. No key is made for a referenced one."""
    made = {
        DEPLOYMENT_ID: str(uuid.UUID(bytes=entropy[0:16], version=4)),
        HASH_KEY: _base64url(entropy[16:48]),
    }
    for position, variable in enumerate(KEY_FILES):
        if variable in generated_keys(spec):
            start = 48 + position * 36
            first = new_key(entropy[start : start + 36], KeyState.CURRENT, now)
            made[KEY_FILES[variable]] = KeyFile(keys=(first,)).model_dump_json()
    return {**made, **present}


def postgres_data(present: Mapping[str, str], *, entropy: bytes) -> dict[str, str]:
    """Account of the embedded database without its URL: what is there is kept."""
    made = {"username": DATABASE, "database": DATABASE, "password": _base64url(entropy[156:180])}
    return {key: present.get(key) or value for key, value in made.items()}


def monitor_token(present: Mapping[str, str], *, entropy: bytes) -> str:
    """The monitoring token: what is there is kept."""
    return present.get(MONITOR_TOKEN) or _base64url(entropy[180:212])


def collect(spec: Spec, referenced: Mapping[str, Manifest | None], embedded: Mapping[str, str]) -> External:
    """The values of ``<name>-ext-<rev>``: referenced ones, and ``embedded`` URLs by variable."""
    values = dict(embedded)
    problems: list[str] = []
    unread: set[str] = set()
    for variable, source in _sources(spec).items():
        if source.name not in referenced:
            unread.add(source.name)
            continue
        secret = referenced[source.name]
        value = decoded(secret).get(source.key)
        if value:
            values[variable] = value
        elif source.required:
            problems.append(f"{variable}: {_absence(source, secret)}")
    wrong = _doubtful(values, pooled=spec.database.pooled is not None)
    return External(
        values={name: value for name, value in sorted(values.items()) if name not in wrong},
        problems=(*problems, *(f"{name}: {why}" for name, why in wrong.items())),
        unread=tuple(sorted(unread)),
    )


def _doubtful(values: Mapping[str, str], *, pooled: bool) -> dict[str, str]:
    """What is wrong with URLs, by variable."""
    found = {}
    for variable in sorted(values.keys() & {*_SCHEMES, "SENTRY_DSN"}):
        why = _url_problem(variable, values[variable], pooled=pooled)
        if why:
            found[variable] = why
    return found


def _url_problem(variable: str, value: str, *, pooled: bool) -> str:
    try:
        if variable == "SENTRY_DSN":
            parse_dsn(value)
            return ""
        parsed = [parse_url(each, *_SCHEMES[variable]) for each in urls(variable, value)]
    except UrlRefused as refused:
        return str(refused)
    return pooler.unfit(parsed[0]) if pooled and variable == "DATABASE_URL" else ""


def weak(values: Mapping[str, str], keys: Mapping[str, str], monitor: str, spec: Spec) -> tuple[str, ...]:
    """What is wrong with secrets by the strength rule: the ``values`` of ``collect``, and the generated ``keys`` and
    ``monitor`` token as they are kept, which somebody may have edited."""
    files = {variable: keys.get(KEY_FILES[variable], "") for variable in generated_keys(spec)}
    return tuple(f"{name}: {why}" for name, why in weaknesses({**files, **values, MONITOR: monitor}).items())


def digest(values: Mapping[str, str], hash_key: str) -> str:
    """HMAC-SHA256 of the values under the object's own key, as hex: nothing can be guessed from it."""
    text = json.dumps(dict(sorted(values.items())), separators=(",", ":"))
    return hmac.new(hash_key.encode(), text.encode(), hashlib.sha256).hexdigest()


@dataclass(frozen=True)
class _Source:
    name: str
    key: str
    required: bool = True


def _sources(spec: Spec) -> dict[str, _Source]:
    found: dict[str, _Source] = {}
    redis = spec.sessions.redis
    if spec.database.url_from is not None:
        found["DATABASE_URL"] = _selected(spec.database.url_from.secret_key_ref)
    if spec.database.direct_url_from is not None:
        found["DATABASE_DIRECT_URL"] = _selected(spec.database.direct_url_from.secret_key_ref)
    if spec.database.replica_urls_from is not None:
        found["DATABASE_REPLICA_URLS"] = _selected(spec.database.replica_urls_from.secret_key_ref)
    if redis is not None and redis.url_from is not None:
        found["REDIS_URL"] = _selected(redis.url_from.secret_key_ref)
    keys: dict[str, KeySource] = {
        "INTERNAL_API_KEY": spec.secrets.internal_api_key,
        "JWT_SECRET": spec.secrets.jwt,
        "SESSION_SECRET": spec.secrets.session,
    }
    for variable, source in keys.items():
        if source.secret_key_ref is not None:
            found[variable] = _selected(source.secret_key_ref)
    if spec.secrets.mailgun is not None:
        name = spec.secrets.mailgun.secret_ref
        found["MAILGUN_API_KEY"] = _Source(name, "MAILGUN_API_KEY")
        # Without it no delivery event can be believed; the service's own checks tell, and it is no reason to refuse.
        found["MAILGUN_WEBHOOK_SIGNING_KEY"] = _Source(name, "MAILGUN_WEBHOOK_SIGNING_KEY", required=False)
    if spec.secrets.openai is not None:
        found["OPENAI_API_KEY"] = _Source(spec.secrets.openai.secret_ref, "OPENAI_API_KEY")
    if spec.secrets.sentry is not None:
        found["SENTRY_DSN"] = _Source(spec.secrets.sentry.secret_ref, "SENTRY_DSN")
    return found


def _selected(selector: SecretKeySelector) -> _Source:
    return _Source(selector.name, selector.key)


def _absence(source: _Source, secret: Manifest | None) -> str:
    if secret is None:
        return f"Secret {source.name} does not exist"
    return f"Secret {source.name} has no text in key {source.key}"


def new_key(entropy: bytes, state: KeyState, now: datetime) -> Key:
    """A key of 32 bytes with an id of 4, from 36 bytes of ``entropy``."""
    return Key.model_validate(
        {"id": entropy[32:36].hex(), "state": state, "secret": _base64url(entropy[:32]), "since": now}
    )


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
