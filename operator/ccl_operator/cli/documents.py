"""YAML documents with the line of each field, read as kubectl reads them: dates and base-60 numbers are text."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from ccl_operator.api.conformance import Finding, Place

#: More fields and entries than any manifest has; aliases of aliases would otherwise grow without end.
MOST_NODES: Final = 200_000
_LISTS: Final = frozenset({"List", "CclDeploymentList"})
_REPLACED: Final = frozenset(f"tag:yaml.org,2002:{name}" for name in ("int", "float", "timestamp", "value"))


class Unreadable(Exception):
    """What ``source`` holds cannot be read; the text says why and where, and quotes no value."""

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(f"{source}: {reason}")
        self.source, self.reason = source, reason


@dataclass(frozen=True)
class Document:
    """One object. ``number`` of the YAML document, from 1, and None for an object of a cluster.

    ``content`` is None in an empty document. ``repeated``: fields that are given twice, of which one would be lost.
    """

    source: str
    content: Any
    number: int | None = None
    repeated: tuple[Finding, ...] = ()
    lines: Mapping[Place, int] = field(default_factory=dict)
    within: Place = ()

    def line(self, place: Place) -> int | None:
        """Line of a field, else of what it would be in."""
        for end in range(len(place), -1, -1):
            if (found := self.lines.get((*self.within, *place[:end]))) is not None:
                return found
        return None

    def objects(self) -> Iterator["Document"]:
        """Itself, or what is in it when it is a list of objects, as ``kubectl get -o yaml`` prints."""
        items = self.content.get("items") if isinstance(self.content, dict) else None
        if not isinstance(items, list) or str(self.content.get("kind")) not in _LISTS:
            yield self
            return
        for index, item in enumerate(items):
            place: Place = ("items", index)
            repeated = tuple(
                Finding(found.place[2:], found.message) for found in self.repeated if found.place[:2] == place
            )
            yield Document(self.source, item, self.number, repeated, self.lines, place)


class _Loader(yaml.SafeLoader):
    """Numbers as in YAML 1.2, and no dates."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - the base class's
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in _REPLACED]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int",
    re.compile(r"^[-+]?(?:0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|0|[1-9][0-9_]*)$"),
    list("-+0123456789"),
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    list("-+.0123456789"),
)


def documents(text: bytes, source: str) -> tuple[Document, ...]:
    """Every document, in order; empty for an empty file. Raises Unreadable."""
    try:
        return tuple(_read(text, source))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" in line {mark.line + 1}" if mark else ""
        raise Unreadable(source, f"no YAML{where}: {error.problem or error.context}") from None
    except RecursionError:
        raise Unreadable(source, "no manifest: it is nested too deeply") from None
    except yaml.YAMLError:
        raise Unreadable(source, "no YAML: it holds characters that text does not have") from None


def _read(text: bytes, source: str) -> Iterator[Document]:
    loader = _Loader(text)
    try:
        number = 0
        while loader.check_node():
            number += 1
            reading = _Reading(loader, source)
            node = loader.get_node()
            content = None if node is None else reading.value(node, ())
            yield Document(source, content, number, tuple(reading.repeated), reading.lines)
    finally:
        loader.dispose()


class _Reading:
    """One document being read."""

    def __init__(self, loader: _Loader, source: str) -> None:
        self._loader, self._source = loader, source
        self._open: list[yaml.Node] = []
        self._nodes = 0
        self.lines: dict[Place, int] = {}
        self.repeated: list[Finding] = []

    def value(self, node: yaml.Node, place: Place) -> Any:
        """What JSON would hold."""
        self._nodes += 1
        if self._nodes > MOST_NODES:
            raise Unreadable(self._source, f"a document of more than {MOST_NODES} fields and entries")
        line = node.start_mark.line + 1
        if any(node is each for each in self._open):
            raise Unreadable(self._source, f"an alias of what it is part of, in line {line}")
        self.lines.setdefault(place, line)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, line)
        self._open.append(node)
        found = self._mapping(node, place) if isinstance(node, yaml.MappingNode) else self._sequence(node, place)
        self._open.pop()
        return found

    def _scalar(self, node: yaml.ScalarNode, line: int) -> Any:
        try:
            found = self._loader.construct_object(node)
        except ValueError:
            raise Unreadable(self._source, f"a value that its tag does not fit, in line {line}") from None
        # kubectl sends JSON, in which it writes 2.0 as 2.
        return int(found) if isinstance(found, float) and found.is_integer() else found

    def _sequence(self, node: yaml.Node, place: Place) -> list[Any]:
        return [self.value(item, (*place, index)) for index, item in enumerate(node.value)]

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        self._once_each(node, place)
        # Fields merged by << come first, so that the object's own ones win.
        self._loader.flatten_mapping(node)
        found: dict[str, Any] = {}
        for key, item in node.value:
            name = self._key(key)
            self.lines[*place, name] = key.start_mark.line + 1
            found[name] = self.value(item, (*place, name))
        return found

    def _once_each(self, node: yaml.MappingNode, place: Place) -> None:
        seen: set[str] = set()
        for key, _ in node.value:
            name = self._key(key)
            if name in seen:
                self.repeated.append(Finding((*place, name), "is given twice"))
            seen.add(name)

    def _key(self, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode):
            raise Unreadable(self._source, f"a key that is no text, in line {node.start_mark.line + 1}")
        return str(node.value)
