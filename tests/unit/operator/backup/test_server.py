import pytest

from ccl_operator.backup.failure import StepFailed
from ccl_operator.backup.server import server_from_url, without_secrets


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://app:s3cr%2Fet@db:5432/ccl?sslmode=require",
        "postgres://app:s3cr%2Fet@db:5432/ccl?sslmode=require",
        "postgresql+asyncpg://app@db:5432/ccl?sslmode=require&password=s3cr%2Fet",
    ],
)
def test_the_password_is_taken_out_of_the_url(url: str) -> None:
    server = server_from_url(url)
    assert (server.url, server.password) == ("postgresql://app@db:5432/ccl?sslmode=require", "s3cr/et")
    assert "s3cr" not in repr(server)


def test_a_client_gets_the_password_and_no_url() -> None:
    server = server_from_url("postgresql://app:hush@db/ccl")
    environment = server.client_environment({"PATH": "/bin", "DATABASE_URL": "x", "DATABASE_DIRECT_URL": "y"})
    assert environment["PGPASSWORD"] == "hush"
    assert environment["PATH"] == "/bin"
    assert not {"DATABASE_URL", "DATABASE_DIRECT_URL"} & environment.keys()


def test_a_program_without_a_database_gets_no_password() -> None:
    assert "PGPASSWORD" not in without_secrets({"PGPASSWORD": "hush", "HOME": "/"})


def test_parameters_that_only_libpq_knows_stay_away_from_asyncpg() -> None:
    server = server_from_url("postgresql://app@db/ccl?sslmode=require&connect_timeout=5&channel_binding=require")
    assert server.asyncpg_url == "postgresql://app@db/ccl?sslmode=require"
    assert "channel_binding" in server.url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "mysql://app:s3cret@db/ccl",
        "postgresql://app:s3c/ret@db/ccl",
        "postgresql://app:s3c#ret@db/ccl",
        "postgresql://app:s3c?ret@db/ccl",
        "postgresql://app:[s3cret@db/ccl",
        "postgresql://app:x@db/ccl?sslpassword=s3cret",
    ],
)
def test_an_unreadable_url_is_refused_without_quoting_it(url: str) -> None:
    with pytest.raises(StepFailed) as refusal:
        server_from_url(url)
    assert "s3c" not in str(refusal.value)
    assert refusal.value.__cause__ is None


def test_a_quoted_password_is_taken_out_of_a_message() -> None:
    server = server_from_url("postgresql://app:s3cr%2Fet@db/ccl")
    assert server.redact("tried s3cr/et and s3cr%2Fet") == "tried *** and ***"


def test_a_server_without_a_password_leaves_messages_alone() -> None:
    assert server_from_url("postgresql://app@db/ccl").redact("as it is") == "as it is"
