"""Which URLs are beyond doubt, and which servers they mean."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccl_contract.urls import HTTP, POSTGRES, REDIS, Server, UrlRefused, parse_dsn, parse_url

#: Everything that has ever made a parser stumble, in any order.
PIECES = st.sampled_from(
    (
        *(
            "postgresql://",
            "redis://",
            "u",
            ":",
            "@",
            "hunter2",
            "/",
            "?",
            "#",
            "[",
            "]",
            "[::1]",
            "%",
            "%zz",
            ",",
            "h",
        ),
        *(":5432", ":99999", ":0", "host=", "port=", "&", "=", "\u2100", "\u212e", "\n", "\x00", " ", "\ud7ff", "é"),
    )
)
TEXTS = st.lists(PIECES, max_size=14).map("".join) | st.text(max_size=60)


@pytest.mark.parametrize(
    ("text", "servers"),
    [
        ("postgresql://u:p@h/d", [Server("h")]),
        ("postgresql://u:p@h:6543/d", [Server("h", 6543)]),
        ("postgresql://u:p@one:5432,two:5433,three/d", [Server("one", 5432), Server("two", 5433), Server("three")]),
        ("postgresql://u:p@[2001:db8::1]:5433/d", [Server("2001:db8::1", 5433)]),
        ("postgresql:///d?host=one,two&port=6000", [Server("one", 6000), Server("two", 6000)]),
        ("postgresql:///d?host=one,two&port=6000,6001", [Server("one", 6000), Server("two", 6001)]),
        ("postgresql:///d?host=/var/run/postgresql", [Server("/var/run/postgresql")]),
        ("postgresql://u@%2Fvar%2Frun/d", [Server("/var/run")]),
        ("postgresql://", []),
    ],
)
def test_the_servers_of_a_database_url_come_in_their_order(text: str, servers: list[Server]) -> None:
    assert list(parse_url(text, *POSTGRES, local=True).servers) == servers


def test_account_and_path_are_decoded_and_the_password_does_not_show() -> None:
    url = parse_url("postgres://al%40ice:p%2Fss@h/my%20loans?sslmode=require&sslmode=disable", *POSTGRES)
    assert (url.user, url.password, url.path) == ("al@ice", "p/ss", "my loans")
    assert url.parameters == {"sslmode": "disable"}
    assert "p/ss" not in repr(url)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("mysql://u:hunter2@h/d", "must be a URL that starts with postgresql:// or postgres://"),
        ("hunter2", "must be a URL that starts with"),
        ("postgresql://u:hunter2[x@h/d", "percent-encoded"),
        ("postgresql://u:hunter2\u2100@h/d", "percent-encoded"),
        ("postgresql://u:hunter2/x@h/d", "percent-encoded"),
        ("postgresql://u:p@h/d#hunter2", "percent-encoded"),
        ("postgresql://u:p@h:99999/d", "host or host:port"),
        ("postgresql://u:p@h:0/d", "host or host:port"),
        ("postgresql://u:p@one:5432,two:hunter2/d", "host or host:port"),
        ("postgresql:///d?host=one,two&port=1,2,3", "host or host:port"),
        ("postgresql:///d?host=one&port=hunter2", "host or host:port"),
        ("postgresql://u:p@h/d?host=elsewhere", "its server once"),
        ("postgresql://", "host or host:port"),
        ("postgresql:///d?host=/var/run", "host or host:port"),
    ],
)
def test_a_url_in_doubt_is_refused_with_what_it_must_be(text: str, complaint: str) -> None:
    with pytest.raises(UrlRefused) as refused:
        parse_url(text, *POSTGRES)
    assert complaint in str(refused.value)
    assert "hunter2" not in str(refused.value)


@given(TEXTS)
def test_no_text_is_anything_but_read_or_refused(text: str) -> None:
    complaints = set()
    for schemes in (POSTGRES, REDIS, HTTP):
        try:
            url = parse_url(text, *schemes, local=True)
        except UrlRefused as refused:
            complaints.add(str(refused))
        else:
            assert all(server.port is None or 0 < server.port < 65536 for server in url.servers)
    assert not [complaint for complaint in complaints if "hunter2" in complaint or not complaint.startswith("must ")]


def test_a_dsn_has_a_key_a_host_and_a_project() -> None:
    assert parse_dsn("https://0123456789abcdef@sentry.example.com:9000/42").servers == (
        Server("sentry.example.com", 9000),
    )


@pytest.mark.parametrize("text", ["https://sentry.example.com/42", "https://k@h:99999/1", "https://k@[x/1", "hunter2"])
def test_what_is_no_dsn_is_refused_without_a_word_of_it(text: str) -> None:
    with pytest.raises(UrlRefused, match=r"^must be a DSN \(https://key@host/project\)$"):
        parse_dsn(text)
