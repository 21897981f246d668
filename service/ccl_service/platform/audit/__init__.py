"""The audit trail: who changed what, in an order that nobody can quietly alter."""
