"""The version of this program."""

from importlib.metadata import PackageNotFoundError, version
from typing import Final


def _installed() -> str:
    try:
        return version("ccl")
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "0"


VERSION: Final = _installed()
