"""What the service is measured beside: nothing at all (``raw``), and the same service on two other frameworks."""
