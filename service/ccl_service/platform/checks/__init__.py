"""The production-readiness checks of the platform: one function per check, each saying what to do about it.

``catalog`` lists them; ``readiness`` runs them. Checks of one feature's own belong to the feature.
"""
