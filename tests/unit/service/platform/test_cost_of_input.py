"""What the worst body within a route's limit costs: for that long nobody else is served."""

import contextlib
import itertools
import json
import time
from collections.abc import Callable, Iterator

import pytest
from pydantic import BaseModel

from ccl_service.main import route_table
from ccl_service.platform.body import validate
from ccl_service.platform.json_input import MOST_VALUES, decode_json
from ccl_service.platform.problems import CclError
from ccl_service.platform.route import JSON, Route, largest_body

#: What a body may cost, with room for a machine several times slower than today's.
MOST_SECONDS = 0.1
ROWS = [row for row in route_table() if row.body is not None and row.consumes == JSON]


def filled(size: int, unit: str, *, around: tuple[str, str] = ("[", "0]")) -> bytes:
    """As many units as fit."""
    head, tail = around
    return (head + unit * ((size - len(head) - len(tail)) // len(unit.encode())) + tail).encode()


def allowed(size: int, unit: str, *, each: int = 1) -> bytes:
    """As many units as may be there, each of so many values."""
    return filled(min(size, (MOST_VALUES // each - 1) * len(unit.encode())), unit)


def keys(size: int) -> bytes:
    return ("{" + ",".join(f'"{n:07x}":0' for n in range(size // 12)) + "}").encode()


DEEP = "[" * 31 + "]" * 31 + ","
WORST: dict[str, Callable[[int], bytes]] = {
    "numbers": lambda size: filled(size, "0,"),
    "fractions": lambda size: filled(size, "1e9,"),
    "one long number": lambda size: filled(size, "1", around=("0.", "1")),
    "long whole numbers": lambda size: filled(size, "9" * 4300 + ","),
    "empty texts": lambda size: filled(size, '"",'),
    "empty objects": lambda size: filled(size, "{},"),
    "objects": lambda size: filled(size, '{"":0},'),
    "deep arrays": lambda size: filled(size, DEEP),
    "keys": keys,
    "one long text": lambda size: filled(size, "x", around=('"', '"')),
    "lines": lambda size: filled(size, "x\\n", around=('"', '"')),
    "marks on one letter": lambda size: filled(size, "\u0300\u0323", around=('"', '"')),
    "letters with all the marks that are allowed": lambda size: filled(
        size, "a" + "\u0300\u0323" * 15, around=('"', '"')
    ),
    "syllables to compose": lambda size: filled(size, "\u1100\u1161\u11a8", around=('"', '"')),
    "texts without an end": lambda size: filled(size, '\\"', around=('"', '"')),
    "quotation marks": lambda size: filled(size, '"'),
    "as many numbers as are allowed": lambda size: allowed(size, "0,"),
    "as many texts as are allowed": lambda size: allowed(size, '"e\u0301",'),
    "as many objects as are allowed": lambda size: allowed(size, '{"":0},', each=2),
    "as many deep arrays as are allowed": lambda size: allowed(size, DEEP, each=32),
}


def bodies(row: Route) -> Iterator[tuple[str, bytes]]:
    """By name, within the row's limit: as the whole body, and as each of its fields."""
    size = largest_body(row, 10_485_760)
    fields = list(row.body.model_json_schema()["properties"]) if row.body else []
    for name, field in itertools.product(WORST, [None, *fields]):
        around = b"%b" if field is None else json.dumps({field: "?"}).encode().replace(b'"?"', b"%b")
        yield f"{name} as {field or 'the body'}", around % WORST[name](size - len(around))


def seconds(raw: bytes, model: type[BaseModel], depth: int) -> float:
    """Of this thread's own time; the best of three, because what else the machine does is not the body's fault."""
    taken = []
    for _ in range(3):
        start = time.thread_time()
        with contextlib.suppress(CclError):
            validate(decode_json(raw, depth=depth), model)
        taken.append(time.thread_time() - start)
        if taken[-1] < MOST_SECONDS:
            break
    return min(taken)


@pytest.mark.parametrize("row", ROWS, ids=[row.path for row in ROWS])
def test_the_worst_body_that_a_route_takes_holds_nobody_up(row: Route) -> None:
    assert row.body is not None
    spent = {name: round(seconds(raw, row.body, row.body_depth), 3) for name, raw in bodies(row)}
    assert {name: each for name, each in spent.items() if each >= MOST_SECONDS} == {}
