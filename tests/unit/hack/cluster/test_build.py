"""Which Go is good enough."""

import pytest

from hack.cluster import build
from hack.run import Failure


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("go version go1.24 linux/amd64", (1, 24)),
        ("go version go1.26.8 linux/arm64", (1, 26)),
        ("go version go1.25rc1 darwin/arm64", (1, 25)),
    ],
)
def test_the_version_is_read_from_what_go_prints(text, version):
    assert build.parse_go_version(text) == version


def test_text_without_a_version_is_refused():
    with pytest.raises(ValueError, match="no Go version"):
        build.parse_go_version("go: command not found")


@pytest.mark.parametrize("printed", [None, "go version go1.19.8 linux/amd64"])
def test_a_missing_or_old_go_is_refused_with_the_fix(monkeypatch, tmp_path, printed):
    if printed:
        (tmp_path / "go").write_text(f"#!/bin/sh\necho {printed}\n")
        (tmp_path / "go").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Failure, match=r"Go >= 1\.24 is needed.*; fix: install Go >= 1\.24"):
        build.require_go()
