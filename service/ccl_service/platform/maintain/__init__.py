"""Upkeep of the database: what is kept how long, what the planner has to know, and whether everything still adds up."""
