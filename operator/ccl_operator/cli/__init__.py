"""The command ``ccl-operator``."""

from ccl_operator.cli.app import main

__all__ = ["main"]
