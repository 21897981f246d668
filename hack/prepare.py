"""Makes beside a command what it will need later, by the commands that make it by hand.

What they cannot make is left to the command itself, which comes to it and says why; theirs is only in their logs.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from hack.cluster.build import own_command


@contextmanager
def preparing(*images: str) -> Iterator[None]:
    """Make what a cluster is made of, and these images, until the block ends; who needs one meanwhile waits for it."""
    with own_command("hack.cluster", "prepare"), own_command("hack.images", "build", *images):
        yield
