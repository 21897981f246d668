"""What counts for the last 1, 5 and 60 minutes."""

from ccl_service.platform.telemetry.windows import Windows, as_document, from_document, whole

ROUTE = ("GET", "/api/leads")


class Time:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_an_answer_counts_in_every_window_at_once() -> None:
    windows = Windows(Time())
    windows.add(ROUTE, 0.2, error=True)
    for minutes in (1, 5, 60):
        answered = windows.window(minutes)[ROUTE]
        assert (answered.latency.total, answered.errors) == (1, 1)


def test_an_answer_leaves_each_window_when_its_time_is_over() -> None:
    time = Time()
    windows = Windows(time)
    windows.add(ROUTE, 0.2, error=False)
    present = {}
    for minute in range(70):
        time.now = 1000.0 + minute * 60
        present[minute] = {m for m in (1, 5, 60) if ROUTE in windows.window(m)}
    assert present[0] == {1, 5, 60}
    assert present[2] == {5, 60}
    assert present[6] == {60}
    assert present[58] == {60}
    assert present[62] == set()


def test_a_steady_rate_is_counted_to_within_a_slice() -> None:
    time = Time()
    windows = Windows(time)
    for second in range(2 * 3600):
        time.now = 1000.0 + second
        windows.add(ROUTE, 0.01, error=second % 10 == 0)
    for minutes, slack in ((1, 10), (5, 60), (60, 60)):
        answered = whole(windows.window(minutes))
        assert abs(answered.latency.total - minutes * 60) <= slack
        assert abs(answered.errors - minutes * 6) <= slack / 10 + 1


def test_memory_does_not_grow_with_time() -> None:
    time = Time()
    windows = Windows(time)
    for second in range(0, 5 * 3600, 5):
        time.now = 1000.0 + second
        windows.add(ROUTE, 0.01, error=False)
    assert len(windows._past) <= 30 + 60


def test_a_silent_hour_forgets_everything() -> None:
    time = Time()
    windows = Windows(time)
    windows.add(ROUTE, 0.2, error=False)
    time.now += 3700
    assert windows.window(60) == {}


def test_a_request_that_was_turned_away_is_an_error_without_a_time() -> None:
    windows = Windows(Time())
    windows.add(ROUTE, 0.2, error=False)
    windows.add_shed(ROUTE)
    windows.add_shed(ROUTE)
    answered = whole(windows.window(1))
    assert (answered.requests, answered.errors, answered.latency.total) == (3, 2, 1)


def test_a_table_survives_json() -> None:
    windows = Windows(Time())
    windows.add(ROUTE, 0.2, error=True)
    windows.add_shed(ROUTE)
    table = windows.window(1)
    again = from_document(as_document(table))
    assert (again[ROUTE].errors, again[ROUTE].shed) == (2, 1)
    assert again[ROUTE].latency.counts == table[ROUTE].latency.counts
