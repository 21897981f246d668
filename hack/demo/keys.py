"""Reads the key files that the operator makes."""

from pathlib import Path

from ccl_contract.keys import parse_key_file


def root_key(path: str) -> str:
    """The current key of a key file."""
    return parse_key_file(Path(path).read_text()).current.secret.get_secret_value()
