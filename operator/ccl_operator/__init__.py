"""The operator: a pure core (``plan``, ``rollout``, ``manifests``) in a thin shell (``runtime``, ``cli``)."""
