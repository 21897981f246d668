"""PgBouncer as its image runs it: settings arrive at any moment, and never at the price of the process."""

import signal
from collections.abc import Iterator

import pytest

from tests.operator.operator_process import until
from tests.service.pooler_process import Pooler, made


@pytest.fixture
def pooler() -> Iterator[Pooler]:
    with made() as pooler:
        yield pooler


def soon(pooler: Pooler, text: str) -> None:
    until(text, lambda: pooler.says(text))


def test_a_pod_that_starts_while_the_database_is_paused_comes_up_and_holds_queries(pooler: Pooler) -> None:
    pooler.write("paused", "true")
    pooler.start()
    pooler.go()
    soon(pooler, "paused is true now")
    soon(pooler, "SIGUSR1")
    assert pooler.accepts()
    pooler.write("paused", "false")
    soon(pooler, "SIGUSR2")


def test_settings_that_change_while_it_starts_are_read_again_once_it_runs(pooler: Pooler) -> None:
    pooler.start()
    pooler.configure(clients=200)
    pooler.go()
    soon(pooler, "RELOAD")
    soon(pooler, "SIGHUP")
    assert pooler.accepts()


def test_settings_that_cannot_be_read_for_a_moment_are_not_forgotten(pooler: Pooler) -> None:
    pooler.start()
    pooler.go()
    until("it accepts connections", pooler.accepts)
    (pooler.folder / "userlist.txt").unlink()
    soon(pooler, "userlist.txt: No such file")
    pooler.write("userlist.txt", '"ccl" "secret"\n')
    soon(pooler, "RELOAD")


def test_it_ends_when_it_is_asked_to(pooler: Pooler) -> None:
    pooler.start()
    pooler.go()
    until("it accepts connections", pooler.accepts)
    pooler.process.send_signal(signal.SIGTERM)
    assert pooler.process.wait(15) == 0


def test_a_pgbouncer_that_cannot_start_ends_the_container(pooler: Pooler) -> None:
    pooler.write("pgbouncer.ini", "[pgbouncer]\nno_such_setting = 1\n")
    pooler.start()
    pooler.go()
    assert pooler.process.wait(15) != 0
