"""What the fake model says: rules over the last message of the user, first match wins.

A rule may call a tool first; when the tool's result comes back, the rule's reply follows. Replies are dicts, so that
they fit a structured answer (``response_format: json_schema``); without one only ``reply`` is spoken.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

PHONE = r"((?:\+?1[\s.-]*)?\(?\d{3}\)?[\s.-]*\d{3}[\s.-]*\d{4})"


class ToolUse(BaseModel):
    """A call of ``name``; in string arguments ``{0}`` is the whole match and ``{1}`` … its groups.

    ``again``: call it even after its result has come back, without end.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    arguments: dict[str, Any] = Field(default_factory=dict)
    again: bool = False


class Rule(BaseModel):
    """``match`` is a case-insensitive regular expression, searched in the last user message."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    match: str
    reply: dict[str, Any]
    tool: ToolUse | None = None


class Spoken(BaseModel):
    """The content of one completion."""

    model_config = ConfigDict(frozen=True)

    content: str | None = None
    tool: ToolUse | None = None


DEFAULT: tuple[Rule, ...] = (
    Rule(
        match=PHONE,
        tool=ToolUse(name="record_phone", arguments={"phone": "{1}", "consent": True}),
        reply={
            "action": "continue",
            "reply": "Thank you, I have noted your number. One of our specialists will call you. "
            "Is there a car you already have in mind?",
        },
    ),
    Rule(
        match=r"\b(speak|talk) (to|with) (a |an )?(human|person|someone|agent|specialist)|\bcall me\b",
        tool=ToolUse(name="request_handoff", arguments={"reason": "the visitor asked for a person"}),
        reply={"action": "handoff", "reply": "Of course. A specialist will take over from here."},
    ),
    Rule(
        match=r"credit|score|bankrupt|repo",
        reply={
            "action": "continue",
            "reply": "Many of our customers come to us with a difficult credit history, so you are not alone. "
            "Lenders look at income and stability too. A specialist can go through it with you: "
            "what phone number may we call you on?",
        },
    ),
    Rule(
        match=r"rate|apr|interest|payment",
        reply={
            "action": "continue",
            "reply": "The rate depends on the lender and on your situation, so I cannot name one here. "
            "A specialist can show you real offers. What phone number may we call you on?",
        },
    ),
    Rule(
        match=r"\b(bye|goodbye|thanks|thank you)\b",
        reply={"action": "close", "reply": "You are welcome. Come back any time."},
    ),
    Rule(
        match=r"",
        reply={
            "action": "continue",
            "reply": "I can help you pick up your application where you left it. What phone number may we call you on?",
        },
    ),
)


def answer(rules: Sequence[Rule], request: Mapping[str, Any]) -> Spoken:
    """What the model says to a chat-completions request.

    Raises LookupError when no rule matches or the reply lacks a property that the requested schema demands.
    """
    messages: Sequence[Mapping[str, Any]] = request["messages"]
    at = max((i for i, message in enumerate(messages) if message["role"] == "user"), default=-1)
    text = _text(messages[at].get("content")) if at >= 0 else ""
    rule, found = _first(rules, text)
    answered = any(message["role"] == "tool" for message in messages[at + 1 :])
    offered = {tool["function"]["name"] for tool in request.get("tools") or ()}
    if rule.tool is not None and rule.tool.name in offered and (rule.tool.again or not answered):
        return Spoken(tool=rule.tool.model_copy(update={"arguments": _filled(rule.tool.arguments, found)}))
    return Spoken(content=_content(rule.reply, request.get("response_format") or {}))


def _first(rules: Sequence[Rule], text: str) -> tuple[Rule, re.Match[str]]:
    for rule in rules:
        if found := re.search(rule.match, text, re.IGNORECASE):
            return rule, found
    raise LookupError("no rule of the script matches the last user message")


def _filled(arguments: Mapping[str, Any], found: re.Match[str]) -> dict[str, Any]:
    words = (found.group(0), *found.groups())
    return {k: v.format(*words) if isinstance(v, str) else v for k, v in arguments.items()}


def _content(reply: Mapping[str, Any], response_format: Mapping[str, Any]) -> str:
    if response_format.get("type") != "json_schema":
        return str(reply["reply"])
    schema = response_format["json_schema"]["schema"]
    names = list(schema.get("properties", {}))
    if lacking := [name for name in schema.get("required", ()) if name not in reply]:
        raise LookupError(f"the scripted reply has no {', '.join(lacking)}")
    return json.dumps({name: reply[name] for name in names if name in reply}, ensure_ascii=False)


def _text(content: Any) -> str:
    """Message content is a string or a list of typed parts."""
    if isinstance(content, list):
        return " ".join(str(part.get("text", "")) for part in content)
    return str(content or "")
