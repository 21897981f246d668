"""A structured answer is read while it is being written."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccl_contract.chat import ChatAction
from ccl_service.agents.answer import AnswerReader, BadAnswer, ChatAnswer, sentences
from ccl_service.agents.openai_chat import response_format


def read(content: str, size: int) -> tuple[list[str], ChatAction]:
    reader = AnswerReader()
    got: list[str] = []
    for start in range(0, len(content), size):
        got += reader.feed(content[start : start + size])
    action, rest = reader.finish()
    return got + rest, action


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_control_characters_are_left_out_however_the_text_is_cut(size: int) -> None:
    content = json.dumps({"action": "continue", "reply": "\u0000He\u0000llo.\u001b\u0007 \u0085Well?\n\u0000"})
    assert read(content, size) == (["Hello.", "Well?"], ChatAction.CONTINUE)


def test_a_sentence_is_given_as_soon_as_the_next_one_begins() -> None:
    reader = AnswerReader()
    assert reader.feed('{"action":"continue","reply":"One. ') == []
    assert reader.feed("T") == ["One."]
    assert reader.feed('wo!"}') == []
    assert reader.finish() == (ChatAction.CONTINUE, ["Two!"])


def test_nothing_is_given_before_the_action_is_there() -> None:
    reader = AnswerReader()
    assert reader.feed('{"reply":"One. Two. Three."') == []


def test_the_schema_asks_for_the_action_first_and_for_nothing_else() -> None:
    schema: Any = response_format(ChatAnswer)["json_schema"]["schema"]
    assert list(schema["properties"]) == ["action", "reply"]
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize("content", ["", "hello", '{"action":"dance","reply":"x"}', '{"action":"close","reply":" "}'])
def test_anything_else_than_an_answer_is_refused(content: str) -> None:
    reader = AnswerReader()
    reader.feed(content)
    with pytest.raises(BadAnswer):
        reader.finish()


@given(
    reply=st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=200).filter(
        str.strip
    ),
    size=st.integers(1, 20),
    escaped=st.booleans(),
)
def test_however_it_is_cut_the_same_sentences_come_out(reply: str, size: int, escaped: bool) -> None:
    content = json.dumps({"action": "handoff", "reply": reply}, ensure_ascii=escaped)
    got, action = read(content, size)
    assert got == read(content, len(content))[0]
    assert action is ChatAction.HANDOFF
    assert "".join("".join(got).split()) == "".join(reply.split())


def test_abbreviated_text_without_an_end_mark_is_one_sentence() -> None:
    assert sentences("no end mark") == ["no end mark"]
    assert sentences("One. Two? Three!") == ["One.", "Two?", "Three!"]
