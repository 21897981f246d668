"""What the serving process does for itself before it listens."""

import gc
from collections.abc import Iterator

import pytest

from ccl_service.serving import COLLECT_AFTER, rarely_collect


@pytest.fixture
def collector() -> Iterator[None]:
    """The garbage collector as it was, afterwards."""
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


@pytest.mark.usefixtures("collector")
def test_what_was_made_at_the_start_is_looked_through_no_more() -> None:
    made_at_the_start = [[]]  # type: ignore[var-annotated]
    rarely_collect()
    assert not any(one is made_at_the_start for one in gc.get_objects())
    made_later = [[]]  # type: ignore[var-annotated]
    assert any(one is made_later for one in gc.get_objects())
    assert gc.get_threshold() == COLLECT_AFTER
