"""Whether a value has the shape that a structural schema asks for, judged as the API server judges it. Pure.

Null counts as absent, as it is pruned before defaults are filled in; a field that the schema does not know would be
pruned too, and is named here instead. Source: kubernetes.io, CustomResourceDefinitions, "Field pruning", "Defaulting
and Nullable". No message quotes a value.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

from ccl_operator.api.forms import WORDS

Schema = Mapping[str, Any]
Place = tuple[str | int, ...]

#: On a schema: anything may be below.
ANYTHING: Final = "x-kubernetes-preserve-unknown-fields"
#: By Python's type, the exact one: a boolean is no integer, and neither is 1.0.
_CALLED: Final[Mapping[type, str]] = {
    dict: "an object",
    list: "a list",
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "a boolean",
    type(None): "null",
}
_WANTED: Final[Mapping[str, str]] = {
    "object": "an object",
    "array": "a list",
    "string": "a string",
    "integer": "an integer",
    "boolean": "a boolean",
}
#: How alike names must be to be taken for one misspelt.
_ALIKE: Final = 0.7


@dataclass(frozen=True)
class Finding:
    """What is wrong at ``place``: names of fields and indices of lists, from the root."""

    place: Place
    message: str

    @property
    def path(self) -> str:
        """``spec.http.corsOrigins[1]``; a key of a map that is no plain word stands in brackets too."""
        text = ""
        for step in self.place:
            plain = isinstance(step, str) and re.fullmatch(r"\w+", step)
            text += (f".{step}" if text else str(step)) if plain else f"[{step}]"
        return text


def pruned(value: Any, schema: Schema) -> Any:
    """The value without nulls and without fields that the schema does not know, as the API server would store it."""
    if isinstance(value, dict) and not schema.get(ANYTHING):
        fields = {name: _below(schema, name) for name in value}
        return {
            name: pruned(item, field)
            for name, item in value.items()
            if item is not None and (field := fields[name]) is not None
        }
    if isinstance(value, list) and "items" in schema:
        return [pruned(item, schema["items"]) for item in value]
    return value


def _below(schema: Schema, name: str) -> Schema | None:
    found: Schema | None = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
    return found


class Conformance:
    """Checks values against one schema."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._elsewhere: dict[str, list[str]] = {}
        for place in _places(schema, ()):
            self._elsewhere.setdefault(str(place[-1]).lower(), []).append(Finding(place, "").path)

    def findings(self, value: Any) -> tuple[Finding, ...]:
        """Everything that is wrong, in the value's order; empty when the API server would take its shape."""
        return tuple(self._any(value, self._schema, ()))

    def _any(self, value: Any, schema: Schema, place: Place) -> Iterator[Finding]:
        wanted = schema["type"]
        called = _CALLED.get(type(value), "a value of another type")
        if called != _WANTED[wanted]:
            quotes = ": put it in quotes" if wanted == "string" and isinstance(value, int | float) else ""
            yield Finding(place, f"must be {_WANTED[wanted]}, not {called}{quotes}")
        elif isinstance(value, dict):
            yield from self._object(value, schema, place)
        elif isinstance(value, list):
            yield from _within(len(value), ("minItems", "maxItems"), "entries", schema, place)
            for index, item in enumerate(value):
                yield from self._any(item, schema.get("items", {"type": "object", ANYTHING: True}), (*place, index))
        else:
            yield from _SCALARS[wanted](value, schema, place)

    def _object(self, value: Mapping[str, Any], schema: Schema, place: Place) -> Iterator[Finding]:
        if schema.get(ANYTHING):
            return
        fields = schema.get("properties", {})
        for name in schema.get("required", ()):
            if value.get(name) is None and "default" not in fields[name]:
                yield Finding((*place, name), "is missing")
        yield from _within(len(value), ("minProperties", "maxProperties"), "entries", schema, place)
        for name, item in value.items():
            field = _below(schema, name)
            if field is None:
                yield Finding((*place, name), f"is not a field{self._meant(name, fields, place)}")
            elif item is not None:
                yield from self._any(item, field, (*place, name))

    def _meant(self, name: str, fields: Mapping[str, Any], place: Place) -> str:
        """The nearest known spelling; else where a field of this name is; else the fields that there are."""
        plain = {field.lower(): field for field in fields}
        if near := get_close_matches(_joined(name), plain, 1, _ALIKE):
            return f"; did you mean {plain[near[0]]}?"
        if elsewhere := self._elsewhere.get(_joined(name)):
            return f" here; there is {', '.join(elsewhere[:3])}"
        where = Finding(place, "").path or "the object"
        return f"; {where} has {', '.join(sorted(fields))}" if fields else f"; {where} has none"


def _joined(name: str) -> str:
    """``cors_origins`` and ``cors-origins`` are ``corsOrigins`` misspelt."""
    return re.sub(r"[-_]", "", name).lower()


def _places(schema: Schema, place: Place) -> Iterator[Place]:
    for name, field in schema.get("properties", {}).items():
        yield (*place, name)
        yield from _places(field, (*place, name))


def _within(amount: int, limits: tuple[str, str], what: str, schema: Schema, place: Place) -> Iterator[Finding]:
    low, high = map(schema.get, limits)
    if (low is not None and amount < low) or (high is not None and amount > high):
        allowed = [f"at least {low}"] if low is not None else []
        allowed += [f"at most {high}"] if high is not None else []
        verb = "have" if what else "be"
        yield Finding(place, " ".join(part for part in (f"must {verb}", " and ".join(allowed), what) if part))


def _string(value: str, schema: Schema, place: Place) -> Iterator[Finding]:
    if "enum" in schema and value not in schema["enum"]:
        yield Finding(place, f"must be one of {', '.join(schema['enum'])}")
    yield from _within(len(value), ("minLength", "maxLength"), "characters", schema, place)
    # Go's classes of characters are ASCII, and its $ is the very end.
    if "pattern" in schema and not re.fullmatch(schema["pattern"], value, re.ASCII):
        yield Finding(place, f"must be {WORDS[schema['pattern']]}")


def _integer(value: int, schema: Schema, place: Place) -> Iterator[Finding]:
    yield from _within(value, ("minimum", "maximum"), "", schema, place)


def _boolean(value: bool, schema: Schema, place: Place) -> Iterator[Finding]:  # noqa: ARG001 - one of a table
    yield from ()


_SCALARS: Final[Mapping[str, Callable[[Any, Schema, Place], Iterator[Finding]]]] = {
    "string": _string,
    "integer": _integer,
    "boolean": _boolean,
}
