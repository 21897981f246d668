"""Benchmarks of the service, each against the bare limit of the same machine in the same run."""
