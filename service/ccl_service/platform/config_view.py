"""The effective configuration as its operators may see it: every variable with its source, no byte of a secret. Pure.

A secret shows that it is set and about how long it is. Of a database's or Redis's URL, server and database stay
readable; whatever could be a password, or belong to one that was not quoted, does not.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, JsonValue, SecretStr

from ccl_contract.readiness import KeyIds
from ccl_service.platform.config import Settings
from ccl_service.platform.config_sources import SettingSource, variables
from ccl_service.platform.config_types import Nameserver
from ccl_service.platform.keys import KEY_VARIABLES
from ccl_service.platform.proxy import TrustProxy

HIDDEN: Final = "***"
#: Upper ends of the classes of lengths, in characters; 32 bytes are what a key must have.
LENGTHS: Final = (16, 32, 64)
_SERVERS: Final = frozenset({"postgresql", "postgres", "redis", "rediss"})
_HOSTS: Final = re.compile(r"^((\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?(,(?=.)|$))*$")
_PATH: Final = re.compile(r"^(/[A-Za-z0-9._-]*)?$")


class _View(BaseModel):
    model_config = ConfigDict(frozen=True)


class SettingView(_View):
    """One variable. ``length``: the class of a secret's length, e.g. 32-63; ``value`` is null when unset."""

    value: Annotated[JsonValue, Field(examples=["warn"])]
    source: SettingSource
    secret: bool = False
    length: Annotated[str, Field(examples=["32-63"])] | None = None


class RotatingKeyView(_View):
    """A rotating key: where it comes from and the ids held."""

    source: SettingSource
    ids: Annotated[tuple[str, ...], Field(examples=[["k2"]])]


class MisspellingView(_View):
    """A variable that means nothing, and the one that was probably meant."""

    name: Annotated[str, Field(examples=["LOG_LEVLE"])]
    meant: Annotated[str, Field(examples=["LOG_LEVEL"])]


class ConfigView(_View):
    """The document of ``/api/monitoring/config``; the keys of ``settings`` and ``keys`` are variables."""

    v: int = 1
    settings: Mapping[str, SettingView]
    keys: Mapping[str, RotatingKeyView]
    misspelt: tuple[MisspellingView, ...]


def config_view(settings: Settings, ids: KeyIds) -> ConfigView:
    """What these settings say; ``ids`` are those of the key ring, which reads its files again."""
    provenance = settings.provenance
    shown = {
        variable.name: _view(getattr(settings, variable.field), provenance.of(variable.name), secret=variable.secret)
        for variable in variables(Settings)
    }
    keys = {
        name: RotatingKeyView(source=provenance.of(name), ids=getattr(ids, key.value))
        for key, name in KEY_VARIABLES.items()
        if key in settings.keys
    }
    slips = tuple(MisspellingView(name=slip.name, meant=slip.meant) for slip in provenance.misspelt)
    return ConfigView(settings=dict(sorted(shown.items())), keys=keys, misspelt=slips)


def _view(value: object, source: SettingSource, *, secret: bool) -> SettingView:
    if not secret:
        return SettingView(value=_plain(value), source=source)
    if isinstance(value, tuple):
        return SettingView(value=[_masked(part) for part in value], source=source, secret=True)
    if not isinstance(value, SecretStr):
        return SettingView(value=None, source=source, secret=True)
    return SettingView(
        value=_masked(value), source=source, secret=True, length=length_class(len(value.get_secret_value()))
    )


def length_class(length: int) -> str:
    """``16-31`` and the like; ``64+`` at the end."""
    low = 0
    for high in LENGTHS:
        if length < high:
            return f"{low}-{high - 1}"
        low = high
    return f"{low}+"


def _masked(secret: SecretStr) -> str:
    return masked_url(secret.get_secret_value())


def masked_url(text: str) -> str:
    """``postgresql://***@db:5432/ccl`` for a server's URL that is beyond doubt, ``***`` for anything else."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return HIDDEN
    if parts.scheme not in _SERVERS or any("@" in rest for rest in (parts.path, parts.query, parts.fragment)):
        return HIDDEN
    account, at, hosts = parts.netloc.rpartition("@")
    if "/" in account or not _HOSTS.match(hosts) or not _PATH.match(parts.path):
        return HIDDEN
    return f"{parts.scheme}://{HIDDEN + '@' if at else ''}{hosts}{parts.path}"


def _plain(value: object) -> JsonValue:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    if isinstance(value, TrustProxy):
        return [str(network) for network in value.networks] or value.hops
    if isinstance(value, Path | Nameserver):
        return str(value)
    return _without_account(str(value))


def _without_account(text: str) -> str:
    """A base URL may carry a password, too."""
    scheme, separator, rest = text.partition("://")
    account, at, host = rest.rpartition("@")
    return f"{scheme}{separator}{HIDDEN}{at}{host}" if separator and account else text
