"""Makes beside a command what it will need later: the cluster's programs, what its node is made of, our images.

Usage: python -m hack.prepare IMAGE...

What cannot be made is left to the command itself, which comes to it and says why; here it is only in the log.
"""

import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from hack import images
from hack.cluster import cache, choice
from hack.run import beside, main_with_errors

ROOT: Final = Path(__file__).parent.parent


@contextmanager
def preparing(*names: str) -> Iterator[None]:
    """Make what is missing in a process beside the block, and end with it; who needs a thing meanwhile waits for it."""
    command = [sys.executable, "-m", "hack.prepare", *names]
    with beside(command, cache.folder() / "prepare.log", cwd=ROOT, end=signal.SIGINT):
        yield


def main() -> int:
    """Entry point."""
    provider = choice.provider(choice.present())
    with ThreadPoolExecutor() as pool:
        under_way = pool.submit(provider.prepare), pool.submit(images.build, sys.argv[1:])
    for each in under_way:
        each.result()
    return 0


if __name__ == "__main__":
    main_with_errors(main)
