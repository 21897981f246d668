"""The end of a certificate, as OpenSSL writes it."""

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccl_service.platform.certificate import CertificateUnreadable, not_after


def made(folder: Path, *options: str) -> bytes:
    """A self-signed certificate in DER."""
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem"),
            *("-out", "cert.der", "-outform", "DER", "-subj", "/CN=cars.example.com"),
            *options,
        ],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    return (folder / "cert.der").read_bytes()


@pytest.mark.parametrize("days", [1, 90, 825, 10_950])
def test_the_end_is_the_one_that_openssl_shows(tmp_path: Path, days: int) -> None:
    found = not_after(made(tmp_path, "-days", str(days)))
    shown = subprocess.run(
        ["openssl", "x509", "-inform", "DER", "-in", "cert.der", "-noout", "-enddate"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    wanted = datetime.strptime(shown.strip().removeprefix("notAfter="), "%b %d %H:%M:%S %Y GMT").replace(tzinfo=UTC)
    assert found == wanted


@given(st.binary(max_size=200))
def test_what_is_no_certificate_is_refused(data: bytes) -> None:
    with pytest.raises(CertificateUnreadable):
        not_after(data)


def test_a_cut_off_certificate_is_refused(tmp_path: Path) -> None:
    whole = made(tmp_path, "-days", "10")
    for length in range(0, 120, 7):
        with pytest.raises(CertificateUnreadable):
            not_after(whole[:length])
