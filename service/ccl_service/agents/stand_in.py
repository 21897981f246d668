"""The rule-based Cathy: keeps the conversation useful without a model and collects the phone number. Pure.

Speaks when no key is configured, and when the provider fails, in the same turn.
"""

import re
from dataclasses import dataclass
from typing import Final

import phonenumbers

from ccl_contract.chat import ChatAction
from ccl_service.agents.model import Situation, Speaker
from ccl_service.agents.rules import Intent

ASK_PHONE: Final = "What phone number may we call you on?"
ASK_CONSENT: Final = "May one of our specialists call you on that number?"
OPTED_OUT: Final = (
    "You are opted out: we will not contact you again by e-mail, phone or text. This conversation is now closed."
)
I_AM_AN_AI: Final = (
    "I am an AI assistant, not a human. If you would rather talk to a person, just say so and I will hand you over."
)
BAD_PHONE: Final = "I could not read that as a phone number. Could you write it once more, with the area code?"
INTERRUPTED: Final = "Sorry, I was interrupted there."

_TOPICS: Final[tuple[tuple[re.Pattern[str], str], ...]] = (
    (
        re.compile(r"approv|qualif|accept|denied|reject|turned down"),
        "Whether a loan is approved is the lender's decision, so I cannot promise it. We work with lenders who look at "
        "income and stability as well as the credit score.",
    ),
    (
        re.compile(r"\brates?\b|\bapr\b|interest|payment|monthly|cost"),
        "Rates and payments depend on the lender and on your situation, so I cannot name one here. A specialist can "
        "show you real offers.",
    ),
    (
        re.compile(r"credit|score|bankrupt|repo|collection"),
        "Many of our customers come to us with a difficult credit history, so you are not alone. Sub-prime lenders "
        "look at your income and how long you have had it, not only at the score.",
    ),
    (
        re.compile(r"document|paperwork|pay ?stub|proof|need to bring"),
        "Usually a driver's licence, a recent pay stub and a proof of address are enough. Please do not send any "
        "numbers of documents or cards in this chat.",
    ),
    (
        re.compile(r"trade|truck|suv|sedan|car|vehicle|drive"),
        "Good choice to think about the car first. A specialist can match it with dealers near you that finance it.",
    ),
)
_DEFAULT: Final = "I can help you pick your application up where you left it."
_BYE: Final = re.compile(
    r"^(?:ok(?:ay)?[\s,]*)?(?:bye|good ?bye|thanks?|thank you|that is all|that's all)\b[\s\w,.!]{0,30}$"
)
_YES: Final = re.compile(
    r"\b(?:yes|yeah|yep|sure|ok|okay|please do|of course|go ahead|you may|call me|text me|reach me)\b"
)
_NO_CALLS: Final = re.compile(r"\b(?:do not|don't|never|no)\s+(?:call|text|phone|contact)")
_NO: Final = re.compile(r"\b(?:no|not|don't|do not|never)\b")


@dataclass(frozen=True, slots=True)
class Said:
    """An answer by rule. ``phone`` (as written) is to be recorded first, with ``consent``."""

    text: str
    action: ChatAction = ChatAction.CONTINUE
    phone: str | None = None
    handoff: bool = False


def by_intent(intent: Intent, *, phone_known: bool) -> Said:
    """The fixed answer to an intent."""
    match intent:
        case Intent.OPT_OUT:
            return Said(OPTED_OUT, ChatAction.CLOSE)
        case Intent.ASKS_IF_HUMAN:
            return Said(I_AM_AN_AI)
        case Intent.WANTS_PERSON:
            rest = "" if phone_known else f" {ASK_PHONE}"
            return Said(f"Of course, I am asking a specialist to take over.{rest}", ChatAction.HANDOFF, handoff=True)


def answer(situation: Situation) -> Said:
    """What to say by rule; asks for the phone number as long as none is known."""
    plain = situation.message.casefold().replace("\u2019", "'")
    phone = find_phone(situation.message)
    if phone and not _NO_CALLS.search(plain):
        if _consents(plain, situation):
            return Said(
                "Thank you, I have noted your number and a specialist will call you. Is there a car you already have "
                "in mind?",
                phone=phone,
            )
        return Said(f"Thank you. {ASK_CONSENT}")
    if ASK_CONSENT in situation.asked and _YES.search(plain) and not _NO.search(plain):
        return _after_consent(situation)
    if _BYE.search(plain):
        return Said("You are welcome. Come back any time.", ChatAction.CLOSE)
    said = next((text for pattern, text in _TOPICS if pattern.search(plain)), _DEFAULT)
    return Said(said if situation.phone_known else f"{said} {ASK_PHONE}")


def find_phone(text: str) -> str | None:
    """The first phone number in ``text`` as it is written there, US by default; None when there is none."""
    for found in phonenumbers.PhoneNumberMatcher(text, "US", leniency=phonenumbers.Leniency.POSSIBLE):
        return str(found.raw_string)
    return None


def _consents(plain: str, situation: Situation) -> bool:
    """Giving the number in answer to "what number may we call you on?" is consent; so is saying so."""
    return ASK_PHONE in situation.asked or bool(_YES.search(plain))


def _after_consent(situation: Situation) -> Said:
    earlier = (find_phone(line.text) for line in reversed(situation.history) if line.speaker is Speaker.VISITOR)
    phone = next((found for found in earlier if found), None)
    if phone is None:
        return Said(ASK_PHONE)
    return Said("Thank you, a specialist will call you on that number.", phone=phone)
