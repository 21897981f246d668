"""A process that should have ended is ended."""

import threading

from ccl_operator.runtime import watchdog


def test_it_ends_the_process_when_it_stays_overdue() -> None:
    codes: list[int] = []
    ended = threading.Event()

    def end(code: int) -> None:
        codes.append(code)
        ended.set()

    with watchdog.watching(lambda: True, every=0.01, patience=0.02, end=end):
        assert ended.wait(30)
    assert codes[0] == watchdog.EXIT_CODE != 0


def test_it_leaves_alone_what_is_overdue_only_now_and_then() -> None:
    codes: list[int] = []
    looks = 0
    enough = threading.Event()

    def now_and_then() -> bool:
        nonlocal looks
        looks += 1
        if looks == 20:
            enough.set()
        return looks % 2 == 0

    with watchdog.watching(now_and_then, every=0.001, patience=0.002, end=codes.append):
        assert enough.wait(30)
    assert codes == []
