"""Reading CSV as people make it; a broken record costs that record only."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccl_service.leads.csv_rows import FileUnreadable, Header, Record, read_header, read_row, records
from ccl_service.leads.model import LeadDraft, Source

HEADER = read_header(b"First Name,E-Mail,Phone,Monthly Income,Vehicle\n")


def cells(data: bytes) -> list[tuple[str, ...] | str]:
    return [record.problem or record.cells for record in records(data, ",", last=True)]


@pytest.mark.parametrize("head", [b"first_name,email\n", b"\xef\xbb\xbfFirst Name;E-Mail\r\n", b"First-Name\tmail\n"])
def test_headers_are_recognised_in_many_spellings(head: bytes) -> None:
    header = read_header(head)
    assert header.fields == ("first_name", "email")
    assert header.size == len(head)


def test_a_column_that_is_not_ours_is_skipped() -> None:
    header = read_header(b"first_name,shoe size,email\n")
    assert header.fields == ("first_name", None, "email")
    lead = read_row(header, Record(("Ann", "42", "ann@example.com"), 0))
    assert isinstance(lead, LeadDraft)


@pytest.mark.parametrize(
    ("head", "code"),
    [
        (b"first_name,town\n", "columns_missing"),
        (b"email,phone\n", "columns_missing"),
        (b"first_name,email,mail\n", "columns_repeated"),
        (b"", "header"),
        (b"\xff\xfef\0i\0", "encoding"),
        (b"PK\x03\x04\0\0", "encoding"),
    ],
)
def test_a_file_of_another_kind_is_refused_with_a_code(head: bytes, code: str) -> None:
    with pytest.raises(FileUnreadable) as caught:
        read_header(head)
    assert caught.value.code == code


def test_quotes_hold_separators_quotes_and_line_breaks() -> None:
    assert cells(b'"a,b","say ""hi""","x\ny"\nnext,1,2\n') == [("a,b", 'say "hi"', "x\ny"), ("next", "1", "2")]


def test_a_quote_inside_an_unquoted_field_is_itself() -> None:
    assert cells(b'22" wheels,b\n') == [('22" wheels', "b")]


def test_a_quote_never_closed_costs_its_line_only() -> None:
    rest = b"".join(b"row%d,x\n" % number for number in range(40))
    assert cells(b'"open,x\n' + rest) == ["quoting", *((f"row{number}", "x") for number in range(40))]


def test_a_quote_closed_by_the_next_row_s_quote_costs_its_line_only() -> None:
    assert cells(b'"open,x\nAnn,"O\'Neil, Ann"\n') == ["quoting", ("Ann", "O'Neil, Ann")]


def test_windows_1252_and_utf_8_may_stand_in_one_file() -> None:
    assert cells("José,1\n".encode() + "José,2\n".encode("cp1252")) == [("José", "1"), ("José", "2")]


def test_what_is_neither_costs_its_line_only() -> None:
    assert cells(b"a\x81\xff,1\nb,2\n") == ["encoding", ("b", "2")]


def test_blank_lines_are_no_records_and_the_last_line_needs_no_end() -> None:
    assert cells(b"\r\na,1\r\n\r\nb,2") == [("a", "1"), ("b", "2")]


@given(
    st.lists(st.tuples(st.text('ab,"\n é', max_size=6), st.text("xy", min_size=1, max_size=3)), max_size=8), st.data()
)
def test_cutting_a_file_anywhere_gives_the_same_records(rows: list[tuple[str, str]], data: st.DataObject) -> None:
    def quoted(cell: str) -> str:
        return '"' + cell.replace('"', '""') + '"'

    raw = "".join(f"{quoted(first)},{second}\n" for first, second in rows).encode()
    cut = data.draw(st.integers(0, len(raw)))
    head = list(records(raw[:cut], ",", last=False))
    done = head[-1].end if head else 0
    tail = list(records(raw[done:], ",", last=True))
    assert [record.cells for record in head + tail] == [record.cells for record in records(raw, ",", last=True)]
    assert [record.cells for record in head + tail] == rows


def test_money_is_read_with_sign_and_separators() -> None:
    lead = read_row(HEADER, Record(("Ann", "ann@example.com", "", "$3,200.00", ""), 0))
    assert isinstance(lead, LeadDraft)
    assert lead.finance.monthly_income_usd == 3200
    assert lead.source is Source.UPLOAD


def test_everything_wrong_with_a_row_is_named() -> None:
    errors = read_row(HEADER, Record(("-", "nobody", "1", "a lot", ""), 0))
    assert not isinstance(errors, LeadDraft)
    assert {(error.field, error.code) for error in errors} == {
        ("first_name", "name"),
        ("email", "email"),
        ("phone", "phone"),
        ("finance.monthly_income_usd", "int_type"),
    }


def test_a_row_with_too_few_cells_is_refused() -> None:
    header = Header(("first_name", "email"), ",", 0)
    errors = read_row(header, Record(("Ann",), 0))
    assert not isinstance(errors, LeadDraft)
    assert [error.code for error in errors] == ["cells"]


@pytest.mark.parametrize(
    "head", [b"first_name,email\rAnn,ann@example.com\r\n", b'first_name,"' + b"x" * 140_000 + b'"\n']
)
def test_a_header_that_csv_cannot_read_is_refused_with_a_code(head: bytes) -> None:
    with pytest.raises(FileUnreadable) as caught:
        read_header(head)
    assert caught.value.code == "header"
