"""The statements of agents' runs. Only this feature calls them."""

from datetime import datetime
from typing import Final
from uuid import UUID

from ccl_service.agents.model import Run, cost_micros
from ccl_service.platform.db import Db

RUN_ADD: Final = """
-- run_add: the account of one answer of an agent
INSERT INTO agent_runs (id, agent, turn_id, lead_id, outcome, model, prompt_tokens, completion_tokens, usage_estimated,
                        cost_micro_usd, tools, error, started_at, finished_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)"""


async def add_run(
    tx: Db,
    run: Run,
    *,
    run_id: UUID,
    agent: str,
    turn_id: UUID,
    lead_id: UUID | None,
    started_at: datetime,
    finished_at: datetime,
) -> None:
    """Insert one run."""
    await tx.execute(
        RUN_ADD,
        run_id,
        agent,
        turn_id,
        lead_id,
        run.outcome,
        run.model,
        run.usage.prompt_tokens,
        run.usage.completion_tokens,
        run.usage.estimated,
        cost_micros(run.model, run.usage),
        list(run.tools),
        run.error,
        started_at,
        finished_at,
    )
