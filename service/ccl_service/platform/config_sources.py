"""Where the text of each variable comes from: the environment itself, a file that ``NAME_FILE`` names, or another name.

Knows which variables a model of settings has and which of them are secret; what the texts mean is ``config``'s
business. Empty text counts as absent, because templates leave it behind.
"""

from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, get_args

from pydantic import BaseModel, SecretStr

#: Fields of a model that no variable fills.
NO_VARIABLE: Final = frozenset({"keys", "provenance"})
#: Variable → a name it also goes by.
ALIASES: Final[Mapping[str, str]] = MappingProxyType({"CCL_ENV": "NODE_ENV"})
BOTH: Final = "and {other} are both set; keep one"

Problems = MutableMapping[str, str]


class SettingSource(StrEnum):
    """Who said it."""

    ENVIRONMENT = "environment"
    FILE = "file"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Misspelling:
    """A variable that means nothing here, and the one that was probably meant."""

    name: str
    meant: str


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where the settings came from: variable → source, absent for defaults; and what was probably misspelt."""

    sources: Mapping[str, SettingSource] = field(default_factory=dict)
    misspelt: tuple[Misspelling, ...] = ()

    def of(self, variable: str) -> SettingSource:
        """The source of one variable."""
        return self.sources.get(variable, SettingSource.DEFAULT)


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable: its name, the name pydantic knows it by, and whether its value is secret."""

    name: str
    field: str
    key: str
    secret: bool


def variables(model: type[BaseModel]) -> tuple[Variable, ...]:
    """The variables behind a model's fields, in the model's order. A field is secret when its type holds SecretStr."""
    return tuple(
        Variable((info.alias or name).upper(), name, info.alias or name, _holds_secret(info.annotation))
        for name, info in model.model_fields.items()
        if name not in NO_VARIABLE
    )


def _holds_secret(annotation: Any) -> bool:
    return annotation is SecretStr or any(_holds_secret(part) for part in get_args(annotation))


@dataclass(slots=True)
class Collected:
    """What was found: pydantic's key → text, and variable → source."""

    values: dict[str, Any] = field(default_factory=dict, repr=False)
    sources: dict[str, SettingSource] = field(default_factory=dict)


def collect(environ: Mapping[str, str], wanted: Iterable[Variable], problems: Problems) -> Collected:
    """The texts of these variables; what is wrong with any of them goes to ``problems``, without its value."""
    found = Collected()
    for variable in wanted:
        text, source = _plain(environ, variable.name, problems), SettingSource.ENVIRONMENT
        if variable.secret and (path := environ.get(f"{variable.name}_FILE", "")):
            if text:
                problems[variable.name] = BOTH.format(other=f"{variable.name}_FILE")
                continue
            text, source = read_file(variable.name, path, problems), SettingSource.FILE
        if text:
            found.values[variable.key] = text
            found.sources[variable.name] = source
    return found


def _plain(environ: Mapping[str, str], name: str, problems: Problems) -> str:
    own = environ.get(name, "")
    alias = ALIASES.get(name)
    other = environ.get(alias, "") if alias else ""
    if own and other and own != other:
        problems[name] = f"and {alias} differ; keep one"
    return own or other


def read_file(name: str, path: str, problems: Problems) -> str:
    """The text of the file that ``<name>_FILE`` names, without the space around it; empty, with a problem, if none."""
    try:
        text = Path(path).read_text().strip()
    except (OSError, ValueError):
        problems[f"{name}_FILE"] = "names a file that cannot be read"
        return ""
    if not text:
        problems[f"{name}_FILE"] = "names an empty file"
    return text
