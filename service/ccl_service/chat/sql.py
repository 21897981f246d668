"""The statements of the chat and the functions that run them. Only this feature calls them."""

from typing import Final
from uuid import UUID

from ccl_contract.chat import ChatAction
from ccl_service.agents.model import Line, Speaker
from ccl_service.chat.model import Context, ConversationState, Finish, Progress, TurnState
from ccl_service.leads.model import Identity, identity
from ccl_service.platform.db import Db
from ccl_service.platform.work import WorkTable

#: The name of a turn's effect; that of a recorded number is ``phone:<digest>``.
HANDOFF_EFFECT: Final = "handoff"
TURNS: Final = WorkTable("turns", claimable=("queued",))

CONVERSATION_OPEN: Final = """
-- conversation_open: a new conversation with its greeting
WITH opened AS (INSERT INTO conversations (id, lead_id, send_id) VALUES ($1, $2, $3))
INSERT INTO messages (conversation_id, turn, speaker, text) VALUES ($1, 0, 'agent', $4)"""

CONVERSATION_LEAD: Final = """
-- conversation_lead: whether the conversation exists, whose it is, and its state
SELECT lead_id, state FROM conversations WHERE id = $1"""

TURN_ADD: Final = """
-- turn_add: the visitor's message and the turn that answers it; nothing when the conversation is closed. The counter's
-- row lock puts concurrent messages of one conversation in order
WITH conversation AS (
    UPDATE conversations SET turns = turns + 1, last_at = now() WHERE id = $1 AND state <> 'closed'
    RETURNING id, turns, lead_id),
message AS (
    INSERT INTO messages (conversation_id, turn, speaker, text) SELECT id, turns, 'visitor', $3 FROM conversation)
INSERT INTO turns (id, conversation_id, turn) SELECT $2, id, turns FROM conversation RETURNING turn"""

CONTEXT: Final = """
-- context: what is known when a turn is claimed
SELECT turn.conversation_id, turn.turn, conversation.lead_id, conversation.state, conversation.control_epoch,
       conversation.phone_given,
       ARRAY(SELECT text FROM turn_segments WHERE turn_id = turn.id ORDER BY seq) AS said,
       EXISTS (SELECT FROM turns AS earlier WHERE earlier.conversation_id = turn.conversation_id
                  AND earlier.turn < turn.turn AND earlier.state = 'queued') AS blocked
  FROM turns AS turn JOIN conversations AS conversation ON conversation.id = turn.conversation_id
 WHERE turn.id = $1"""

HISTORY: Final = """
-- history: the last $3 messages up to the visitor's of turn $2, newest first
SELECT speaker, text FROM messages
 WHERE conversation_id = $1 AND (turn < $2 OR (turn = $2 AND speaker = 'visitor'))
 ORDER BY turn DESC, speaker LIMIT $3"""

SEGMENT_ADD: Final = """
-- segment_add: show a sentence, only while the turn is ours and nobody closed or took over the conversation
INSERT INTO turn_segments (turn_id, seq, text)
SELECT turn.id, $4, $5 FROM turns AS turn JOIN conversations AS conversation ON conversation.id = turn.conversation_id
 WHERE turn.id = $1 AND turn.claim_id = $2 AND conversation.control_epoch = $3
RETURNING seq"""

TURN_FINISH: Final = """
-- turn_finish: the result of a claim; what the visitor saw becomes the agent's message
WITH finished AS (
    UPDATE turns SET state = 'done', action = $3, finished_at = now(), claim_id = NULL, lease_until = NULL
     WHERE id = $1 AND claim_id = $2 RETURNING id, conversation_id, turn),
message AS (
    INSERT INTO messages (conversation_id, turn, speaker, text)
    SELECT conversation_id, turn, 'agent', said.text FROM finished, LATERAL (
        SELECT string_agg(text, ' ' ORDER BY seq) AS text FROM turn_segments WHERE turn_id = finished.id) AS said
     WHERE said.text IS NOT NULL)
SELECT conversation.lead_id FROM finished JOIN conversations AS conversation ON conversation.id = conversation_id"""

CONVERSATION_MOVE: Final = """
-- conversation_move: a new state from one of the states named; closing takes control from whoever is speaking
UPDATE conversations SET state = $2,
    control_epoch = control_epoch + CASE WHEN $2::text = 'closed' THEN 1 ELSE 0 END
 WHERE id = $1 AND state = ANY($3::text[]) AND state <> $2 RETURNING id"""

CONTROL_TAKE: Final = """
-- control_take: whoever is speaking stops
UPDATE conversations SET control_epoch = control_epoch + 1 WHERE id = $1"""

EFFECT_ADD: Final = """
-- effect_add: claim a side effect of a turn, once
INSERT INTO turn_effects (turn_id, effect) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING effect"""

PHONES_GIVEN: Final = """
-- phones_given: digests of the numbers that were recorded in this conversation
SELECT DISTINCT decode(split_part(effect, ':', 2), 'hex') AS value_hash
  FROM turn_effects AS done JOIN turns AS turn ON turn.id = done.turn_id
 WHERE turn.conversation_id = $1 AND effect LIKE 'phone:%'"""

PHONE_GIVEN: Final = """
-- phone_given: remember that a number was recorded; bind an anonymous conversation to the lead it made
UPDATE conversations SET phone_given = true, lead_id = COALESCE(lead_id, $2) WHERE id = $1"""

PROGRESS: Final = """
-- progress: a turn of this conversation with its segments after $3; one statement, so that "done" implies all of them
SELECT turn.state, turn.action, segment.seq, segment.text
  FROM turns AS turn LEFT JOIN turn_segments AS segment ON segment.turn_id = turn.id AND segment.seq > $3
 WHERE turn.id = $1 AND turn.conversation_id = $2 ORDER BY segment.seq"""


async def open_conversation(
    tx: Db, conversation_id: UUID, *, lead_id: UUID | None, send_id: UUID | None, greeting: str
) -> None:
    """Insert a conversation and its greeting."""
    await tx.execute(CONVERSATION_OPEN, conversation_id, lead_id, send_id, greeting)


async def lead_of(tx: Db, conversation_id: UUID) -> tuple[UUID | None, ConversationState] | None:
    """The lead behind a conversation and its state; None when there is no such conversation."""
    row = await tx.fetchrow(CONVERSATION_LEAD, conversation_id)
    return (row["lead_id"], ConversationState(row["state"])) if row else None


async def add_turn(tx: Db, conversation_id: UUID, turn_id: UUID, text: str) -> int | None:
    """Store a message and its turn; the turn's number, or None when the conversation is closed."""
    number: int | None = await tx.fetchval(TURN_ADD, conversation_id, turn_id, text)
    return number


async def context(db: Db, turn_id: UUID) -> Context:
    """What working the turn needs. The row exists: it was just claimed."""
    row = await db.fetchrow(CONTEXT, turn_id)
    if row is None:
        raise LookupError("a claimed turn has gone")
    return Context(
        row["conversation_id"],
        row["turn"],
        row["lead_id"],
        ConversationState(row["state"]),
        row["control_epoch"],
        row["phone_given"],
        tuple(row["said"]),
        row["blocked"],
    )


async def history(db: Db, conversation_id: UUID, turn: int, *, limit: int) -> tuple[Line, ...]:
    """At most ``limit`` lines, oldest first, ending with the visitor's message of ``turn``."""
    rows = await db.fetch(HISTORY, conversation_id, turn, limit)
    return tuple(Line(Speaker(row["speaker"]), row["text"]) for row in reversed(rows))


async def add_segment(db: Db, turn_id: UUID, claim: UUID, epoch: int, *, seq: int, text: str) -> bool:
    """Show a sentence. False when the claim or the control of the conversation was lost."""
    return await db.fetchval(SEGMENT_ADD, turn_id, claim, epoch, seq, text) is not None


async def finish(tx: Db, turn_id: UUID, claim: UUID, action: ChatAction) -> Finish | None:
    """End a turn. None when the claim was lost."""
    row = await tx.fetchrow(TURN_FINISH, turn_id, claim, action)
    return Finish(row["lead_id"]) if row else None


async def move(tx: Db, conversation_id: UUID, to: ConversationState, sources: list[ConversationState]) -> bool:
    """Move a conversation to another state. False when it was not in one of ``sources``, or there already."""
    return await tx.fetchval(CONVERSATION_MOVE, conversation_id, to, [str(s) for s in sources]) is not None


async def take_control(tx: Db, conversation_id: UUID) -> None:
    """Let nothing that is being said now reach the visitor any more."""
    await tx.execute(CONTROL_TAKE, conversation_id)


async def add_effect(tx: Db, turn_id: UUID, effect: str) -> bool:
    """Claim a side effect. False when the turn has had it."""
    return await tx.fetchval(EFFECT_ADD, turn_id, effect) is not None


async def add_phone_effect(tx: Db, turn_id: UUID, number: str) -> bool:
    """Claim the recording of a number (E.164). Its digest is kept, the number itself belongs on the lead only."""
    return await add_effect(tx, turn_id, f"phone:{identity('phone', number).value_hash.hex()}")


async def phones_given(tx: Db, conversation_id: UUID) -> list[Identity]:
    """The numbers recorded in a conversation, whoever's lead they are on."""
    rows = await tx.fetch(PHONES_GIVEN, conversation_id)
    return [Identity("phone", row["value_hash"]) for row in rows]


async def phone_given(tx: Db, conversation_id: UUID, lead_id: UUID | None) -> None:
    """Remember a recorded number; ``lead_id`` binds a conversation that has no lead yet."""
    await tx.execute(PHONE_GIVEN, conversation_id, lead_id)


async def progress(db: Db, turn_id: UUID, conversation_id: UUID, after: int) -> Progress | None:
    """A turn as its reader sees it; None when it is not one of this conversation."""
    rows = await db.fetch(PROGRESS, turn_id, conversation_id, after)
    if not rows:
        return None
    segments = tuple((row["seq"], row["text"]) for row in rows if row["seq"] is not None)
    action = rows[0]["action"]
    return Progress(TurnState(rows[0]["state"]), ChatAction(action) if action else None, segments)
