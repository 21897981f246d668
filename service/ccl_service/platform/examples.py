"""An example of what a JSON schema describes, put together from the examples at its fields. Pure.

Only what has no example by its nature (a word, a number) needs one of its own; the rest follows: a moment, an id, the
first of an enumeration, an object of its fields' examples.
"""

from collections.abc import Mapping
from typing import Any, Final

Schema = Mapping[str, Any]

ID: Final = "0b0e7e0e-3c43-4d5c-9d4a-5f1f4f2f6a11"
#: By format.
_OF_FORMAT: Final[Mapping[str, str]] = {"uuid": ID, "date-time": "2026-03-01T12:00:00Z"}
_ABSENT: Final = object()


class NoExample(ValueError):
    """A schema says of a value only that it is a text or a number; ``Field(examples=[…])`` is missing there."""


def example(schema: Schema, definitions: Mapping[str, Schema]) -> Any:
    """A value that ``schema`` allows; ``definitions`` by the last part of a reference. Raises NoExample."""
    given = _given(schema)
    if given is not _ABSENT:
        return given
    if "$ref" in schema:
        return example(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "properties" in schema:
        return _object(schema, definitions)
    for union in ("anyOf", "oneOf", "allOf"):
        if union in schema:
            return example(next(one for one in schema[union] if one.get("type") != "null"), definitions)
    return _of_type(schema, definitions)


def _given(schema: Schema) -> Any:
    """What the schema itself names. A default that only says "absent" or "none" shows nothing."""
    if schema.get("examples"):
        return schema["examples"][0]
    if "const" in schema:
        return schema["const"]
    if schema.get("default") not in (None, "", [], {}):
        return schema["default"]
    return schema["enum"][0] if "enum" in schema else _ABSENT


def _of_type(schema: Schema, definitions: Mapping[str, Schema]) -> Any:
    kind = schema.get("type")
    if kind == "object":
        return _object(schema, definitions)
    if kind == "array":
        return [example(schema["items"], definitions)]
    if kind == "boolean":
        return True
    if schema.get("format") in _OF_FORMAT:
        return _OF_FORMAT[schema["format"]]
    raise NoExample(f"no example: {dict(schema)}")


def _object(schema: Schema, definitions: Mapping[str, Schema]) -> Any:
    found = {name: example(one, definitions) for name, one in schema.get("properties", {}).items()}
    others = schema.get("additionalProperties")
    if not found and isinstance(others, Mapping):
        name = example(schema.get("propertyNames", {"const": "name"}), definitions)
        return {name: example(others, definitions)}
    return found
