"""What every feature stands on: configuration, database, HTTP, keys, limits, readiness. Knows no feature."""
