"""PgBouncer's configuration and pods."""

import base64

import pytest

from ccl_contract.urls import POSTGRES, parse_url
from ccl_operator.api.v1alpha1 import Pooler
from ccl_operator.manifests import pooler
from ccl_operator.manifests.meta import Target
from ccl_operator.manifests.pooler import Route

TARGET = Target("ccl", "loans", "uid")
SERVER = "postgresql://alice:p%40ss'word@db.example.com:5433/loans?sslmode=verify-full"
KEY = "key-of-the-object"


def route(server: str = SERVER, key: str = KEY) -> Route:
    behind = parse_url(server, *POSTGRES)
    return Route(parse_url(pooler.client_url(TARGET, key, behind), *POSTGRES), behind)


def files(wanted: Pooler, *routes: Route) -> dict[str, str]:
    data = pooler.secret(TARGET, wanted, routes or (route(),), KEY)["data"]
    return {name: base64.b64decode(value).decode() for name, value in data.items()}


def test_the_configuration_names_the_server_its_account_and_its_tls():
    only = route()
    assert pooler.configuration(Pooler(pool_size=7, max_client_connections=99), [only]) == (
        "[databases]\n"
        f"{only.client.path} = host='db.example.com' port='5433' dbname='loans' user='alice' password='p@ss''word'\n"
        "\n"
        "[pgbouncer]\n"
        "listen_addr = *\n"
        "listen_port = 6432\n"
        "unix_socket_dir =\n"
        "auth_type = scram-sha-256\n"
        "auth_file = /etc/pgbouncer/userlist.txt\n"
        "stats_users = ccl_stats\n"
        "pool_mode = transaction\n"
        "max_client_conn = 99\n"
        "default_pool_size = 7\n"
        "max_prepared_statements = 500\n"
        "ignore_startup_parameters = extra_float_digits,jit,options,search_path\n"
        "server_tls_sslmode = verify-full\n"
        "server_tls_ca_file = /etc/ssl/certs/ca-certificates.crt\n"
        "tcp_keepalive = 1\n"
        "query_wait_timeout = 30\n"
        "server_idle_timeout = 300\n"
        "server_login_retry = 2\n"
        "log_connections = 0\n"
        "log_disconnections = 0\n"
    )


def test_a_url_without_a_word_on_tls_takes_it_where_it_is_offered():
    assert "server_tls_sslmode = prefer\n" in pooler.configuration(Pooler(), [route("postgresql://u:p@h/d")])


def test_without_a_database_name_it_is_called_like_its_user():
    assert "dbname='u' user='u'" in pooler.configuration(Pooler(), [route("postgresql://u:p@h")])


def test_clients_have_an_account_of_the_poolers_own_at_the_pooler():
    client = route().client
    assert client.password == pooler.password(KEY, client.user)
    assert [(server.host, server.port) for server in client.servers] == [("ccl-pgbouncer.loans.svc", 6432)]
    assert f'"{client.user}" "{client.password}"\n' in files(Pooler())["userlist.txt"]
    assert "p@ss" not in files(Pooler())["userlist.txt"]
    assert not {"alice", "loans", "db"} & {client.user, client.path}


def test_a_new_password_of_the_database_changes_only_the_configuration():
    other, mine = files(Pooler(), route(SERVER.replace("p%40ss", "other"))), files(Pooler())
    assert {name for name in mine if mine[name] != other[name]} == {"pgbouncer.ini"}


def test_every_server_has_a_name_of_its_own_and_the_same_server_one_only():
    servers = (
        SERVER,
        SERVER.replace("p%40ss", "other"),
        SERVER.replace("5433", "5434"),
        SERVER.replace("alice", "bob"),
    )
    lines = files(Pooler(), *map(route, servers))["pgbouncer.ini"].partition("[pgbouncer]")[0].split("\n")
    assert sum("host='db.example.com'" in line for line in lines) == 3
    assert sum("port='5434'" in line for line in lines) == 1
    # The revision with the traffic comes first: where two disagree about the same server, it is right.
    assert not [line for line in lines if "password='other" in line]


def test_the_password_that_pods_still_have_is_taken_beside_the_one_of_a_new_key():
    old, new = route(), route(key="another-key")
    accounts = files(Pooler(), old, new)["userlist.txt"]
    assert old.client.user != new.client.user
    assert all(f'"{each.client.user}" "{each.client.password}"\n' in accounts for each in (old, new))


def test_the_tls_of_the_revision_with_the_traffic_is_that_of_all():
    routes = [route(), route("postgresql://u:p@h/d?sslmode=disable")]
    assert "server_tls_sslmode = verify-full\n" in pooler.configuration(Pooler(), routes)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("postgresql://u:p@one,two/d", "one server"),
        ("postgresql://h/d", "its user"),
        ("postgresql://u:p@h/d?options=-c%20search_path%3Dtenant", "no parameter but sslmode"),
        ("postgresql://u:p@h/d?sslmode=verify-full&sslrootcert=/ca.pem", "no parameter but sslmode"),
        ("postgresql://u:p@h/d?sslmode=maybe", "as sslmode"),
        ("postgresql://u:p%0Ax@h/d", "no control characters"),
        ("postgresql://u:p@h/d%00", "no control characters"),
    ],
)
def test_a_database_that_cannot_be_behind_it_is_refused_in_a_sentence(url, why):
    assert why in pooler.unfit(parse_url(url, *POSTGRES))


@pytest.mark.parametrize("url", [SERVER, "postgresql://u:p@[::1]/d?sslmode=disable", "postgres://u@/d?host=h&port=1"])
def test_a_usual_database_can_be_behind_it(url):
    assert pooler.unfit(parse_url(url, *POSTGRES)) == ""


def test_accounts_differ_by_object_and_by_user():
    drawn = {pooler.password(key, user) for key in (KEY, "another") for user in ("ccl", pooler.STATS)}
    assert len(drawn) == 4
    assert min(map(len, drawn)) >= 43


def test_pausing_changes_a_file_and_no_pod():
    assert (files(Pooler())["paused"], files(Pooler(paused=True))["paused"]) == ("false", "true")
    assert pooler.deployment(TARGET, Pooler(paused=True), "image") == pooler.deployment(TARGET, Pooler(), "image")


def test_no_password_is_on_a_command_line_or_in_the_pods_specification():
    built = str(pooler.deployment(TARGET, Pooler(), "image"))
    assert pooler.password(KEY, pooler.STATS) not in built
    assert "p@ss" not in built


def test_one_pod_gets_no_budget_and_two_let_one_be_away():
    assert pooler.disruption_budget(TARGET, Pooler(replicas=1)) is None
    budget = pooler.disruption_budget(TARGET, Pooler())
    assert budget is not None
    assert budget["spec"]["maxUnavailable"] == 1
