"""The generated CRD: fresh, structural, bounded."""

from typing import Annotated

import pytest
from pydantic import Field

from ccl_operator.api import forms
from ccl_operator.api.schema import Unbounded, crd, structural
from ccl_operator.api.shape import Shape
from hack.codegen import stale


def nodes(schema, path="root"):
    yield path, schema
    for name, each in schema.get("properties", {}).items():
        yield from nodes(each, f"{path}.{name}")
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")


def root():
    return crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def test_the_committed_crds_are_what_the_code_generates():
    assert stale() == []


def test_every_node_has_a_type_and_none_of_what_structural_schemas_forbid():
    for path, node in nodes(root()):
        assert "type" in node, path
        assert not node.keys() & {"$ref", "anyOf", "title", "const", "exclusiveMinimum"}, path
        # A structural schema says either which fields there are, or what any field looks like.
        assert not {"properties", "additionalProperties"} <= node.keys(), path


@pytest.mark.parametrize("part", ["spec", "status"])
def test_every_field_is_explained(part):
    found = nodes(root()["properties"][part], part)
    assert [path for path, node in found if "description" not in node and not path.endswith("[]")] == []


def test_every_pattern_has_words_for_what_does_not_match():
    def patterns(node):
        found = {node["pattern"]} if "pattern" in node else set()
        below = [*node.get("properties", {}).values(), node.get("items"), node.get("additionalProperties")]
        return found.union(*(patterns(each) for each in below if each))

    assert patterns(root()) - forms.WORDS.keys() == set()
    assert len(patterns(root())) > 5


def test_a_status_has_no_defaults_because_it_says_only_what_was_written():
    assert [path for path, node in nodes(root()["properties"]["status"]) if "default" in node] == []


def test_a_string_without_a_maximum_is_refused_by_the_generator():
    class Loose(Shape):
        text: str

    with pytest.raises(Unbounded, match=r"Loose\.text"):
        structural(Loose)


def test_a_list_without_a_maximum_is_refused_by_the_generator():
    class Loose(Shape):
        texts: list[Annotated[str, Field(max_length=3)]]

    with pytest.raises(Unbounded, match=r"Loose\.texts"):
        structural(Loose)
