"""What is decided by rule and never by a model: opt-out, "are you a human?", the wish for a person. Pure."""

import re
from enum import StrEnum
from typing import Final


class Intent(StrEnum):
    """The whole intent of a message."""

    OPT_OUT = "opt_out"
    ASKS_IF_HUMAN = "asks_if_human"
    WANTS_PERSON = "wants_person"


#: Words that revoke consent, 47 CFR 64.1200(a)(10): stop, quit, end, revoke, opt out, cancel, unsubscribe.
_OPT_OUT_WORD: Final = r"(?:stop(?:\s*all)?|quit|end|revoke|opt[\s-]*(?:me\s+)?out|cancel|unsubscribe)"
#: What people put around the word without changing what they want. "Cancel my policy with the other dealer" has words
#: that are not in here and is therefore a message to answer.
_AROUND: Final = (
    r"(?:please|pls|plz|thanks|thank\s+you|now|just|i\s+(?:want|would\s+like|wish|need)\s+to|i'?d\s+like\s+to|me|all|it|"
    r"this|(?:texting|messaging|emailing|e-mailing|calling|contacting|writing)(?:\s+(?:to\s+)?me)?|"
    r"(?:the\s+|these\s+|your\s+|all\s+)?(?:messages|emails|e-mails|texts|calls)|from|consent|my|hi|hello|hey|cathy)"
)
_OPT_OUT: Final = re.compile(rf"(?:{_AROUND}\s+)*{_OPT_OUT_WORD}(?:\s+(?:{_AROUND}|{_OPT_OUT_WORD}))*")

_HUMAN: Final = r"(?:(?:a|an|the)\s+)?(?:real\s+|actual\s+|live\s+)*(?:human(?:\s+being)?|person|people)"
_MACHINE: Final = (
    r"(?:(?:a|an|the)\s+)?(?:chat\s*)?"
    r"(?:bot|robot|machine|computer|a\.?i\.?|artificial\s+intelligence|program|chatgpt|gpt)"
)
_ASKS_IF_HUMAN: Final = re.compile(
    rf"\b(?:are|r)\s+(?:you|u)\s+(?:really\s+|actually\s+|even\s+)?(?:{_HUMAN}|{_MACHINE}|real|human)\b"
    rf"|\bis\s+(?:this|it|that)\s+(?:{_HUMAN}|{_MACHINE})\b"
    rf"|\bam\s+i\s+(?:talking|speaking|chatting|writing)\s+(?:to|with)\s+(?:{_HUMAN}|{_MACHINE})\b"
    r"|^(?:human|bot|robot|ai|real person)\s*\?+$"
)
_WANTS_PERSON: Final = re.compile(
    r"\b(?:talk|speak|chat|connect\s+me|transfer\s+me|put\s+me\s+through)\s+(?:to|with)\s+"
    r"(?:(?:a|an|the|your|some)\s*)?(?:real\s+|live\s+|actual\s+)*"
    r"(?:human|person|someone|somebody|one|agent|specialist|representative|rep|manager|staff)\b"
    r"|\b(?:i\s+(?:want|need)|get\s+me|give\s+me)\s+(?:a\s+|an\s+)?(?:real\s+|live\s+|actual\s+)*"
    r"(?:human|person|agent|specialist|representative|rep|manager)\b"
    r"|^(?:human|agent|representative|operator|real person)[.!]*$"
)


def intent(text: str) -> Intent | None:
    """The intent that a rule answers; None leaves the message to the agent. Opting out wins over everything."""
    plain = " ".join(text.casefold().replace("\u2019", "'").split())
    if _OPT_OUT.fullmatch(re.sub(r"[^\w\s'-]+", " ", plain).strip()) or _OPT_OUT.fullmatch(_words(plain)):
        return Intent.OPT_OUT
    if _ASKS_IF_HUMAN.search(plain):
        return Intent.ASKS_IF_HUMAN
    if _WANTS_PERSON.search(plain):
        return Intent.WANTS_PERSON
    return None


def _words(plain: str) -> str:
    """Only letters and single spaces: "S.T.O.P.!!" and "stop…" are plain enough."""
    return " ".join(re.sub(r"[^a-z\s]+", "", plain).split())
