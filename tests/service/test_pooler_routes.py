"""What the operator renders for the pooler brings every revision to the server that it was proven with."""

import asyncio
import base64
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal
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
from tests.service.tls_front import TlsFront

TARGET: Final = Target("ccl", "loans", "uid")
#: With everything that has a meaning in a URL, in SQL or in PgBouncer's configuration.
PASSWORD: Final = 'it\'s a \\ "password"; # %@:/'
NEW_PASSWORD: Final = "another one"
DEFAULTS: Final = Settings()


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


def fill(pooler: Pooler, *held: Mapping[str, str], today: str = "", settings: Settings = DEFAULTS) -> None:
    routes = copies.routes(TARGET, held, {"DATABASE_URL": today})
    assert len(routes) == len(held)
    secret: dict[str, Any] = manifests.secret(TARGET, settings, routes, "key")
    pooler.fill({name: base64.b64decode(data).decode() for name, data in secret["data"].items()})


@pytest.fixture
def running() -> Iterator[Pooler]:
    with made() as pooler:
        pooler.start()
        pooler.go()
        until("it accepts connections", pooler.accepts)
        yield pooler


async def connected(
    pooler: Pooler, copy: Mapping[str, str], *, password: str = ""
) -> "asyncpg.Connection[asyncpg.Record]":
    client = parse_url(copy["DATABASE_URL"], *POSTGRES)
    account = {"user": client.user, "password": password or client.password, "database": client.path}
    return await asyncpg.connect(host="127.0.0.1", port=pooler.port, statement_cache_size=0, **account)


async def reached(pooler: Pooler, copy: Mapping[str, str], *, password: str = "") -> str | None:
    """The database that a pod with this copy ends up in, with another ``password`` than its own when one is given; None
    when it gets nowhere."""
    try:
        connection = await connected(pooler, copy, password=password)
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


@pytest.mark.parametrize(("mode", "servers"), [("transaction", 1), ("session", 2)])
async def test_clients_share_a_connection_to_the_server_by_transaction_or_keep_one_each_for_their_session(
    running: Pooler, databases: list[str], mode: Literal["transaction", "session"], servers: int
) -> None:
    copy = copy_of(databases[0])
    fill(running, copy, settings=Settings(mode=mode))

    async def taken_up() -> bool:
        return await reached(running, copy) == "one"

    await eventually(taken_up, within=30)
    clients = [await connected(running, copy) for _ in range(2)]
    pids = [[await client.fetchval("SELECT pg_backend_pid()") for client in clients] for _ in range(3)]
    for client in clients:
        await client.close()
    assert [len(set(each)) for each in pids] == [servers] * 3
    assert len({tuple(each) for each in pids}) == 1


@pytest.fixture
async def front(server: Server, databases: list[str], tls: Path) -> AsyncIterator[TlsFront]:
    """The server of ``databases`` with TLS."""
    assert databases
    async with TlsFront(server.port, tls).serving() as front:
        yield front


def through(front: TlsFront, sslmode: str, *, host: str = "localhost") -> Mapping[str, str]:
    asked = f"?sslmode={sslmode}" if sslmode else ""
    return copy_of(f"postgresql://service:{quote(PASSWORD, safe='')}@{host}:{front.port}/one{asked}")


@pytest.mark.parametrize("asked", ["", "require", "verify-full"])
async def test_the_way_to_the_server_is_encrypted_unless_its_url_asks_for_the_opposite(
    running: Pooler, front: TlsFront, tls: Path, asked: str
) -> None:
    running.trust(tls / "cert.pem")
    await arrives(running, through(front, asked))
    assert (front.encrypted > 0, front.plain) == (True, 0)


async def test_the_way_to_the_server_is_not_encrypted_where_its_url_refuses(running: Pooler, front: TlsFront) -> None:
    await arrives(running, through(front, "disable"))
    assert (front.encrypted, front.plain > 0) == (0, True)


async def arrives(pooler: Pooler, copy: Mapping[str, str]) -> None:
    fill(pooler, copy)

    async def arrived() -> bool:
        return await reached(pooler, copy) == "one"

    await eventually(arrived, within=30)


async def test_a_server_that_nobody_vouches_for_gets_no_password(running: Pooler, front: TlsFront) -> None:
    await is_refused(running, through(front, "verify-full"))
    assert (front.encrypted, front.plain) == (0, 0)


async def test_a_server_with_the_certificate_of_another_gets_no_password(
    running: Pooler, front: TlsFront, tls: Path
) -> None:
    running.trust(tls / "cert.pem")
    await is_refused(running, through(front, "verify-full", host="127.0.0.1"))
    assert (front.encrypted, front.plain) == (0, 0)


async def is_refused(pooler: Pooler, copy: Mapping[str, str]) -> None:
    """The pooler lets its client wait meanwhile, as for any server that is away."""
    fill(pooler, copy)
    await asyncio.to_thread(until, "the settings were read", lambda: pooler.says("RELOAD"))
    client = asyncio.create_task(reached(pooler, copy))
    await asyncio.to_thread(until, "it says why", lambda: pooler.says("TLS handshake error"))
    assert not client.done()
    client.cancel()
