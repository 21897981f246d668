"""What a domain's records say to those who get our mail."""

import pytest

from ccl_service.mail.domain_records import dkim_fault, dmarc_fault, dmarc_names, spf_fault


@pytest.mark.parametrize(
    ("texts", "fault"),
    [
        (["v=spf1 include:mailgun.org ~all"], None),
        (["google-site-verification=1", "V=SPF1 include:mailgun.org -all"], None),
        (["v=spf1 redirect=_spf.example.com"], None),
        ([], "has no SPF record"),
        (["v=spf10 include:mailgun.org"], "has no SPF record"),
        (["v=spf1 a -all", "v=spf1 mx -all"], "has several SPF records, which count as none"),
        (["v=spf1 include:mailgun.org +all"], "has an SPF record that lets everybody send"),
        (["v=spf1 all"], "has an SPF record that lets everybody send"),
        (["v=spf1 -all"], "has an SPF record that lets nobody send"),
        (["v=spf1"], "has an SPF record that lets nobody send"),
    ],
)
def test_spf(texts: list[str], fault: str | None) -> None:
    assert spf_fault(texts) == fault


@pytest.mark.parametrize(
    ("texts", "fault"),
    [
        (["k=rsa; p=MIGfMA0"], None),
        (["v=DKIM1; k=rsa; p=MIGfMA0"], None),
        ([], "has no DKIM key"),
        (["v=spf1 -all"], "has no DKIM key"),
        (["v=DKIM1; p="], "has a revoked DKIM key"),
    ],
)
def test_dkim(texts: list[str], fault: str | None) -> None:
    assert dkim_fault(texts) == fault


def test_a_policy_is_looked_for_at_the_domain_and_its_parents() -> None:
    assert dmarc_names("mg.loans.example.com") == [
        "_dmarc.mg.loans.example.com",
        "_dmarc.loans.example.com",
        "_dmarc.example.com",
    ]
    assert dmarc_names("localhost") == ["_dmarc.localhost"]


@pytest.mark.parametrize(
    ("found", "fault"),
    [
        ([["v=DMARC1; p=none"], []], None),
        ([[], ["v=DMARC1; p=reject; rua=mailto:d@example.com"]], None),
        ([[], []], "has no DMARC record"),
        ([["v=DMARC1; rua=mailto:d@example.com"], ["v=DMARC1; p=none"]], "has a DMARC record that receivers ignore"),
        ([["v=DMARC1; p=none", "v=DMARC1; p=reject"]], "has a DMARC record that receivers ignore"),
    ],
)
def test_the_nearest_policy_counts(found: list[list[str]], fault: str | None) -> None:
    assert dmarc_fault(found) == fault
