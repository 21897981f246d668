"""YAML as kubectl reads it, with lines."""

import pytest

from ccl_operator.cli.documents import Unreadable, documents


def read(text):
    return documents(text.encode(), "a.yaml")


def test_an_empty_file_has_no_documents():
    assert read("") == ()


def test_documents_are_counted_from_one_with_the_empty_ones():
    assert [(found.number, found.content) for found in read("a: 1\n---\n# nothing\n---\nb: 2\n")] == [
        (1, {"a": 1}),
        (2, None),
        (3, {"b": 2}),
    ]


def test_a_field_is_found_by_its_line_and_a_missing_one_by_what_it_would_be_in():
    (found,) = read("spec:\n  web:\n    x: 1\n  list:\n  - a: 1\n  - b: 2\n")
    assert found.line(("spec", "web", "x")) == 3
    assert found.line(("spec", "list", 1, "b")) == 6
    assert found.line(("spec", "web", "missing", "deeper")) == 2


@pytest.mark.parametrize("text", ["2024-01-01", "12:30:45", "12:30", "="])
def test_what_json_does_not_know_is_text(text):
    assert read(f"a: {text}\n")[0].content == {"a": text}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("1e3", 1000), ("2.0", 2), ("2.5", 2.5), ("0o17", 15), ("017", 15), ("0x1f", 31), ("1_000", 1000), ("yes", True)],
)
def test_numbers_and_booleans_are_those_of_kubectl(text, wanted):
    found = read(f"a: {text}\n")[0].content["a"]
    assert (found, type(found)) == (wanted, type(wanted))


def test_keys_are_text_whatever_they_look_like():
    assert read("1: a\ntrue: b\n")[0].content == {"1": "a", "true": "b"}


def test_merged_fields_yield_to_those_of_the_object():
    (found,) = read("base: &base {a: 1, b: 1}\nspec: {<<: *base, b: 2}\n")
    assert found.content["spec"] == {"a": 1, "b": 2}
    assert found.repeated == ()


def test_a_field_that_is_given_twice_is_told():
    (found,) = read("spec:\n  a: 1\n  a: 2\n")
    assert [(each.path, each.message) for each in found.repeated] == [("spec.a", "is given twice")]


def test_a_list_of_objects_is_taken_apart_with_lines_and_repetitions():
    (whole,) = read("kind: List\nitems:\n- kind: A\n- kind: B\n  spec:\n    a: 1\n    a: 2\n")
    first, second = whole.objects()
    assert (first.content, first.repeated) == ({"kind": "A"}, ())
    assert second.line(("spec", "a")) == 7
    assert [each.path for each in second.repeated] == ["spec.a"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: [hunter2", "no YAML in line 1"),
        ("a: !mine hunter2", "no YAML in line 1"),
        ("x: 1\na: !!int hunter2", "a value that its tag does not fit, in line 2"),
        ("a: &a [*a]", "an alias of what it is part of, in line 1"),
        ("? [hunter2]\n: 1", "a key that is no text, in line 1"),
        ("a: \x01hunter2", "characters that text does not have"),
        ("[" * 5000, "nested too deeply"),
    ],
)
def test_what_cannot_be_read_is_told_without_its_values(text, reason):
    with pytest.raises(Unreadable, match=r"^a\.yaml: ") as refused:
        read(text)
    assert reason in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_aliases_of_aliases_come_to_an_end():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(Unreadable, match="more than 200000"):
        read("\n".join(lines))


def test_a_kind_that_is_no_text_makes_no_list():
    (found,) = read("kind: [List]\nitems: [1]\n")
    assert list(found.objects()) == [found]


def test_bytes_that_are_no_text_cannot_be_read():
    with pytest.raises(Unreadable, match="characters that text does not have"):
        documents(b"a: \xff\xfe\xff", "a.yaml")
