"""What agents offer to other features: the account of a run, kept in the caller's transaction."""

from ccl_service.agents.sql import add_run as record_run

__all__ = ["record_run"]
