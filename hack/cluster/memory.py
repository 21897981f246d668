"""Which way to a cluster was taken, kept from the moment when something is about to be made until `down`."""

from pathlib import Path
from typing import Final, Literal, get_args

from hack.cluster import cache

Way = Literal["existing", "kind", "native"]
WAYS: Final[tuple[Way, ...]] = get_args(Way)


def remembered() -> Way | None:
    """The way that an earlier `up` took; None after `down`."""
    text = _place().read_text() if _place().exists() else ""
    return next((way for way in WAYS if way == text), None)


def remember(way: Way) -> None:
    """Keep in mind which way is taken."""
    _place().write_text(way)


def forget() -> None:
    """There is no cluster any more."""
    _place().unlink(missing_ok=True)


def _place() -> Path:
    return cache.folder() / "provider"
