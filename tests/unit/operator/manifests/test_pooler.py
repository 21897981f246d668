"""PgBouncer's configuration and pods."""

import base64

from ccl_operator.api.v1alpha1 import Pooler
from ccl_operator.manifests import pooler
from ccl_operator.manifests.meta import Target

TARGET = Target("ccl", "loans", "uid")
SERVER = "postgresql://alice:p%40ss'word@db.example.com:5433/loans?sslmode=verify-full"
KEY = "key-of-the-object"


def files(wanted: Pooler) -> dict[str, str]:
    data = pooler.secret(TARGET, wanted, SERVER, KEY)["data"]
    return {name: base64.b64decode(value).decode() for name, value in data.items()}


def test_the_configuration_names_the_server_its_account_and_its_tls():
    assert pooler.configuration(Pooler(pool_size=7, max_client_connections=99), SERVER) == (
        "[databases]\n"
        "ccl = host='db.example.com' port='5433' dbname='loans' user='alice' password='p@ss''word'\n"
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
        "log_connections = 0\n"
        "log_disconnections = 0\n"
    )


def test_a_url_without_a_word_on_tls_takes_it_where_it_is_offered():
    assert "server_tls_sslmode = prefer\n" in pooler.configuration(Pooler(), "postgresql://u:p@h/d")


def test_clients_have_an_account_of_the_poolers_own_at_the_pooler():
    url = pooler.client_url(TARGET, KEY)
    secret = pooler.password(KEY, pooler.CLIENT)
    assert url == f"postgresql://ccl:{secret}@ccl-pgbouncer.loans.svc:6432/ccl"
    assert f'"ccl" "{secret}"\n' in files(Pooler())["userlist.txt"]
    assert "p@ss" not in files(Pooler())["userlist.txt"]


def test_a_new_password_of_the_database_changes_only_the_configuration():
    other = pooler.secret(TARGET, Pooler(), SERVER.replace("p%40ss", "other"), KEY)["data"]
    mine = pooler.secret(TARGET, Pooler(), SERVER, KEY)["data"]
    assert {name for name in mine if mine[name] != other[name]} == {"pgbouncer.ini"}


def test_accounts_differ_by_object_and_by_user():
    drawn = {pooler.password(key, user) for key in (KEY, "another") for user in (pooler.CLIENT, pooler.STATS)}
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
