"""Checks every sentence before a visitor sees it: no promise of approval or a rate, no denial of being an AI. Pure.

A pattern errs towards refusing: a harmless sentence that is replaced costs less than a promise that is made.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Violation(StrEnum):
    """What a sentence must not do."""

    PROMISES_APPROVAL = "promises_approval"
    PROMISES_RATE = "promises_rate"
    DENIES_AI = "denies_ai"


@dataclass(frozen=True, slots=True)
class Checked:
    """A sentence that may be shown; ``violation`` says why it is not the one that was asked about."""

    text: str
    violation: Violation | None = None


INSTEAD: Final = MappingProxyType(
    {
        Violation.PROMISES_APPROVAL: "I cannot promise an approval: that decision is the lender's, and a specialist "
        "can go through your options with you.",
        Violation.PROMISES_RATE: "I cannot name a rate here: it depends on the lender and on your situation, and a "
        "specialist can show you real offers.",
        Violation.DENIES_AI: "I am Cathy, an AI assistant; I can hand you over to a person whenever you like.",
    }
)

_APPROVAL: Final = re.compile(
    r"\bguarantee[ds]?\b"
    r"|\byou(?:'re|'ll| are| will| have| have been| will be|'ll be|'ve been)?\s+(?:\w+\s+){0,2}?(?:pre-?)?approved\b"
    r"|\b(?:we|i)(?:'ll| will| can)\s+(?:\w+\s+)?approve\s+you"
    r"|\bapproval\s+is\s+(?:\w+\s+)?(?:certain|assured|sure|automatic)"
    r"|\b(?:everyone|everybody|anyone)\s+(?:is|gets?|will\s+be)\s+approved"
    r"|\b(?:will|you'll)\s+(?:definitely|certainly|surely)\s+(?:qualify|get|be)\b"
    r"|\b100\s*%\s*(?:approv|sure|certain)|\bpromise\s+(?:you\s+)?(?:an?\s+)?(?:approval|loan)"
)
_RATE_WORD: Final = re.compile(r"\b(?:apr|rates?|interest)\b")
_PERCENT: Final = re.compile(r"\d\s*(?:%|percent\b|per\s+cent\b)")
_RATE_PROMISE: Final = re.compile(
    r"\b(?:promise|guarantee|get)\s+you\s+(?:a|the)\s+(?:low|lower|lowest|best|great)\w*\s+rate"
)
_DENIAL: Final = re.compile(
    r"\bi(?:'m|\s+am)\s+(?:actually\s+|really\s+)?(?:a\s+|an\s+)?(?:real\s+|actual\s+|live\s+)*(?:human|person|woman)\b"
    r"|\b(?:i(?:'m|\s+am)|this\s+is)\s+(?:not|no)\s+(?:an?\s+)?(?:ai|a\.i\.|bot|robot|machine|computer|chatbot)\b"
    r"|\bi(?:'m|\s+am)n't\s+(?:an?\s+)?(?:ai|bot|robot|machine)\b"
)
_NEGATION: Final = re.compile(
    r"\b(?:can't|cannot|can not|won't|don't|do not|never|unable|not|no|isn't|aren't|nobody)\b"
)


def check(sentence: str) -> Checked:
    """The sentence itself when it keeps the rules, else the truth to say in its place."""
    plain = sentence.casefold().replace("\u2019", "'")
    violation = _violation(plain)
    return Checked(sentence) if violation is None else Checked(INSTEAD[violation], violation)


def _violation(plain: str) -> Violation | None:
    if _DENIAL.search(plain):
        return Violation.DENIES_AI
    if _affirmed(_APPROVAL, plain):
        return Violation.PROMISES_APPROVAL
    if (_RATE_WORD.search(plain) and _PERCENT.search(plain)) or _affirmed(_RATE_PROMISE, plain):
        return Violation.PROMISES_RATE
    return None


def _affirmed(pattern: re.Pattern[str], plain: str) -> bool:
    """Whether the pattern occurs without a negation before it in the same clause ("I cannot guarantee" is fine)."""
    for found in pattern.finditer(plain):
        clause = re.split(r"[,;:]|\bbut\b", plain[: found.start()])[-1]
        if not _NEGATION.search(clause):
            return True
    return False
