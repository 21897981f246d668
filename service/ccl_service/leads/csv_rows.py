"""Reads CSV the way people make it: mixed encodings, stray quotes, odd headers. Pure; storing is imports.py's business.

A record that cannot be read costs that record only: reading goes on with the next line.
"""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from pydantic import ValidationError

from ccl_service.leads.model import LeadDraft, Source

#: A quoted field may hold line breaks, but a quote that stays open longer than this was a typing error.
MOST_LINES: Final = 20
MOST_RECORD_BYTES: Final = 64 * 1024
_BOM: Final = b"\xef\xbb\xbf"
_UTF16: Final = (b"\xff\xfe", b"\xfe\xff")
_DELIMITERS: Final = (",", ";", "\t", "|")

#: Column names people use → dotted fields of a lead.
COLUMNS: Final[Mapping[str, str]] = MappingProxyType(
    {
        **dict.fromkeys(("first_name", "firstname", "first", "given_name"), "first_name"),
        **dict.fromkeys(("last_name", "lastname", "last", "surname", "family_name"), "last_name"),
        **dict.fromkeys(("email", "e_mail", "email_address", "mail"), "email"),
        **dict.fromkeys(("phone", "phone_number", "mobile", "cell", "telephone"), "phone"),
        **dict.fromkeys(("zip", "zip_code", "zipcode", "postal_code"), "zip"),
        **dict.fromkeys(("vehicle_interest", "vehicle", "car", "interested_in"), "vehicle_interest"),
        **dict.fromkeys(("monthly_income_usd", "monthly_income", "income"), "finance.monthly_income_usd"),
        **dict.fromkeys(("down_payment_usd", "down_payment"), "finance.down_payment_usd"),
        **dict.fromkeys(("credit_band", "credit"), "finance.credit_band"),
        **dict.fromkeys(("employment", "employment_status"), "finance.employment"),
        **dict.fromkeys(("consent_text", "consent"), "consent.text"),
        "consent_at": "consent.at",
        "consent_source_url": "consent.source_url",
        "consent_ip": "consent.ip",
        "consent_certificate_url": "consent.certificate_url",
        **dict.fromkeys(("external_id", "id", "lead_id", "application_id"), "external_id"),
        **dict.fromkeys(("requested_at", "started_at"), "requested_at"),
    }
)
_MONEY: Final = re.compile(r"^\$?\s*(\d[\d,]{,20})(?:\.0*)?$")


class FileUnreadable(ValueError):
    """The file as a whole is not CSV with the columns needed. ``code`` says why."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class Header:
    """The first line, understood. ``fields`` has None where a column is not ours; ``size`` is its length in bytes."""

    fields: tuple[str | None, ...]
    delimiter: str
    size: int


@dataclass(frozen=True)
class Record:
    """One record. ``end`` is its end as an offset into the bytes given; ``problem`` a code when it cannot be read."""

    cells: tuple[str, ...]
    end: int
    problem: str | None = None


@dataclass(frozen=True)
class RowError:
    """What is wrong with one field of a row."""

    field: str
    code: str


def read_header(head: bytes) -> Header:
    """The header in the first bytes of a file. Raises FileUnreadable: ``encoding``, ``header``, ``columns``."""
    line, newline, _ = head.partition(b"\n")
    if head.startswith(_UTF16) or b"\0" in line:
        raise FileUnreadable("encoding")
    text = _decode(line.removeprefix(_BOM))
    if text is None or not newline:
        raise FileUnreadable("header")
    delimiter = max(_DELIMITERS, key=text.count)
    try:
        names = next(csv.reader([text.rstrip("\r")], delimiter=delimiter), [])
    except csv.Error as exc:
        raise FileUnreadable("header") from exc
    fields = tuple(COLUMNS.get(re.sub(r"[\s.\-]+", "_", name.strip().lower())) for name in names)
    known = [field for field in fields if field]
    if len(set(known)) != len(known):
        raise FileUnreadable("columns_repeated")
    if "first_name" not in known or not {"email", "phone"} & set(known):
        raise FileUnreadable("columns_missing")
    return Header(fields, delimiter, len(line) + 1)


def records(data: bytes, delimiter: str, *, last: bool) -> Iterator[Record]:
    """Records in ``data``, which begins at a record's start; blank lines are none.

    Stops before a record that may go on behind the data; with ``last`` there is nothing behind it.
    """
    start = 0
    while start < len(data):
        record = _record(data, start, delimiter, last=last)
        if record is None:
            return
        start = record.end
        if record.cells or record.problem:
            yield record


def _record(data: bytes, start: int, delimiter: str, *, last: bool) -> Record | None:
    end = first_end = start
    for _ in range(MOST_LINES):
        newline = data.find(b"\n", end)
        if newline < 0 and not last:
            # A line this long is none of ours: it is given up rather than waited for.
            too_long = len(data) - start > MOST_RECORD_BYTES
            return Record((), len(data), "too_long") if too_long else None
        end = newline + 1 if newline >= 0 else len(data)
        first_end = first_end if first_end > start else end
        text = _decode(data[start:end])
        if text is None:
            return Record((), first_end, "encoding")
        try:
            cells = next(csv.reader([text.rstrip("\r\n")], delimiter=delimiter, strict=True), [])
        except csv.Error as error:
            if "unexpected end" in str(error) and end < len(data) and end - start < MOST_RECORD_BYTES:
                continue  # a quoted field with a line break, perhaps
            if "unexpected end" in str(error) and end >= len(data) and not last:
                return None
            break
        return Record(tuple(cells), end)
    return Record((), first_end, "quoting")


def _decode(raw: bytes) -> str | None:
    """UTF-8, else Windows-1252 (what spreadsheets write), else None."""
    for encoding in ("utf-8", "cp1252"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return None


def read_row(header: Header, record: Record) -> LeadDraft | Sequence[RowError]:
    """The lead in a record, or everything that is wrong with it."""
    if record.problem:
        return [RowError("", record.problem)]
    if len(record.cells) != len(header.fields):
        return [RowError("", "cells")]
    values: dict[str, Any] = {"source": Source.UPLOAD}
    for name, cell in zip(header.fields, record.cells, strict=True):
        if name and cell.strip():
            outer, _, inner = name.partition(".")
            target = values.setdefault(outer, {}) if inner else values
            target[inner or outer] = _plain(name, cell.strip())
    try:
        return LeadDraft.model_validate(values)
    except ValidationError as exc:
        return [
            RowError(".".join(str(part) for part in error["loc"]), error["type"])
            for error in exc.errors(include_input=False, include_url=False, include_context=False)
        ]


def _plain(field: str, cell: str) -> str | int:
    """Money without sign and separators, codes in lower case."""
    if field.endswith("_usd"):
        money = _MONEY.match(cell)
        return int(money[1].replace(",", "")) if money else cell
    if field in {"finance.credit_band", "finance.employment"}:
        return cell.lower().replace(" ", "_").replace("-", "_")
    return cell
