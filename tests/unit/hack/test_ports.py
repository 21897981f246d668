"""Ports are found where nobody takes them by chance."""

import socket

import pytest

from hack import ports


def test_a_port_is_below_those_of_connections_that_go_out() -> None:
    assert ports.FIRST <= ports.free_port() <= ports.LAST < 32_768


def test_a_port_that_somebody_listens_at_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", ports.free_port()))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setattr("random.sample", lambda *_: [port, port])
        with pytest.raises(OSError, match="no free port"):
            ports.free_port()
