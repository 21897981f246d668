"""Leads: intake, life-cycle, identities, timeline, CSV import."""
