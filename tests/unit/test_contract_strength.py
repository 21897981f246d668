"""The one strength rule."""

from ccl_contract.strength import weaknesses

STRONG = "q" * 32


def test_a_published_default_is_named_without_its_value() -> None:
    found = weaknesses({"INTERNAL_API_KEY": "ccl-internal-2025"})
    assert list(found) == ["INTERNAL_API_KEY"]
    assert "ccl-internal-2025" not in found["INTERNAL_API_KEY"]


def test_31_bytes_are_too_few_and_32_are_enough() -> None:
    assert "JWT_SECRET" in weaknesses({"JWT_SECRET": "q" * 31})
    assert not weaknesses({"JWT_SECRET": STRONG})


def test_base64url_of_32_bytes_counts_as_what_it_decodes_to() -> None:
    assert not weaknesses({"JWT_SECRET": "A" * 43})


def test_equal_jwt_and_session_secrets_are_refused() -> None:
    assert "SESSION_SECRET" in weaknesses({"JWT_SECRET": STRONG, "SESSION_SECRET": STRONG})


def test_a_provider_key_may_be_short() -> None:
    assert not weaknesses({"MAILGUN_API_KEY": "key-1"})
