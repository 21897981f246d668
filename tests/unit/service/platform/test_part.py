"""The parameters of a statement and of the part that it takes in are told apart."""

from ccl_service.platform.part import Part


def test_the_parameters_of_a_part_come_after_those_of_the_statement() -> None:
    part = Part("queued AS (SELECT $1, $2, $12)", range(12))
    text, *args = part.within("WITH {part} SELECT $1, $2, $3", "a", "b", "c")
    assert text == "WITH queued AS (SELECT $4, $5, $15) SELECT $1, $2, $3"
    assert args == ["a", "b", "c", *range(12)]


def test_one_part_fits_into_several_statements() -> None:
    part = Part("queued AS (SELECT $1)", ("x",))
    assert part.within("WITH {part} SELECT 1") == ("WITH queued AS (SELECT $1) SELECT 1", "x")
    assert part.within("WITH {part} SELECT $1", 1) == ("WITH queued AS (SELECT $2) SELECT $1", 1, "x")


def test_the_text_is_the_same_every_time_so_that_the_server_prepares_it_once() -> None:
    first, again = (Part("queued AS (SELECT $1)", (value,)).within("WITH {part} SELECT 1")[0] for value in "xy")
    assert first is again
