"""What the operator renders for the pooler brings every revision to the server that it was proven with."""

import base64
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote

import asyncpg
import pytest

from ccl_contract.urls import POSTGRES, parse_url
from ccl_operator import copies
from ccl_operator.api.v1alpha1 import Pooler as Settings
from ccl_operator.manifests import pooler as manifests
from ccl_operator.manifests.meta import Target
from tests.operator.operator_process import until
from tests.service.polling import eventually
from tests.service.pooler_process import Pooler, made
from tests.service.servers import Server, primary

TARGET: Final = Target("ccl", "loans", "uid")
#: With everything that has a meaning in a URL, in SQL or in PgBouncer's configuration.
PASSWORD: Final = 'it\'s a \\ "password"; # %@:/'
NEW_PASSWORD: Final = "another one"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """With an account that needs its password, and two databases."""
    with primary() as server:
        rules = server.folder / "data" / "pg_hba.conf"
        rules.write_text(f"host all service 127.0.0.1/32 scram-sha-256\n{rules.read_text()}")
        yield server


@pytest.fixture
async def databases(server: Server) -> list[str]:
    """URLs of two databases, with an account that needs its password."""
    await execute(
        server,
        "SELECT pg_reload_conf()",
        *(f"DROP DATABASE IF EXISTS {name}" for name in ("one", "two")),
        "DROP ROLE IF EXISTS service",
        f"CREATE ROLE service LOGIN PASSWORD {quoted(PASSWORD)}",
        *(f"CREATE DATABASE {name}" for name in ("one", "two")),
    )
    return [url_of(server, name, PASSWORD) for name in ("one", "two")]


async def execute(server: Server, *statements: str) -> None:
    connection = await asyncpg.connect(server.url())
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def url_of(server: Server, database: str, password: str) -> str:
    return f"postgresql://service:{quote(password, safe='')}@127.0.0.1:{server.port}/{database}"


def copy_of(url: str, key: str = "key") -> Mapping[str, str]:
    return copies.made(TARGET, {"DATABASE_URL": url}, key, pooled=True)


def fill(pooler: Pooler, *held: Mapping[str, str], today: str = "") -> None:
    routes = copies.routes(TARGET, held, {"DATABASE_URL": today})
    assert len(routes) == len(held)
    secret: dict[str, Any] = manifests.secret(TARGET, Settings(), routes, "key")
    pooler.fill({name: base64.b64decode(data).decode() for name, data in secret["data"].items()})


@pytest.fixture
def running() -> Iterator[Pooler]:
    with made() as pooler:
        pooler.start()
        pooler.go()
        until("it accepts connections", pooler.accepts)
        yield pooler


async def reached(pooler: Pooler, copy: Mapping[str, str], *, password: str = "") -> str | None:
    """The database that a pod with this copy ends up in, with another ``password`` than its own when one is given; None
    when it gets nowhere."""
    client = parse_url(copy["DATABASE_URL"], *POSTGRES)
    account = {"user": client.user, "password": password or client.password, "database": client.path}
    try:
        connection = await asyncpg.connect(host="127.0.0.1", port=pooler.port, statement_cache_size=0, **account)
        found: str = await connection.fetchval("SELECT current_database()")
        await connection.close()
    except (asyncpg.PostgresError, OSError):
        return None
    return found


async def test_two_revisions_on_different_servers_reach_their_own_at_the_same_time(
    running: Pooler, databases: list[str]
) -> None:
    old, new = map(copy_of, databases)
    fill(running, old, new)

    async def both() -> bool:
        return [await reached(running, each) for each in (old, new)] == ["one", "two"]

    await eventually(both, within=30)
    fill(running, new)

    async def only_the_new_one() -> bool:
        return [await reached(running, each) for each in (old, new)] == [None, "two"]

    await eventually(only_the_new_one, within=30)


async def test_the_account_of_a_lost_key_and_that_of_the_new_one_are_both_let_in(
    running: Pooler, databases: list[str]
) -> None:
    old, new = copy_of(databases[0], "a lost key"), copy_of(databases[0])
    assert old != new
    fill(running, old, new)

    async def both() -> bool:
        return [await reached(running, each) for each in (old, new)] == ["one", "one"]

    await eventually(both, within=30)
    assert await reached(running, new, password=parse_url(old["DATABASE_URL"], *POSTGRES).password) is None


async def test_a_new_password_of_the_database_reaches_the_pods_that_run(
    running: Pooler, databases: list[str], server: Server
) -> None:
    copy = copy_of(databases[0])
    await execute(server, f"ALTER ROLE service PASSWORD {quoted(NEW_PASSWORD)}")
    fill(running, copy)
    until("the old password was read", lambda: running.says("RELOAD"))
    assert await reached(running, copy) is None
    fill(running, copy, today=url_of(server, "one", NEW_PASSWORD))

    async def let_in() -> bool:
        return await reached(running, copy) == "one"

    await eventually(let_in, within=30)
