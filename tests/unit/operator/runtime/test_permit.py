"""Until when writes are allowed."""

from ccl_operator.runtime.permit import Permit, Unlimited


def test_nothing_may_be_written_at_first() -> None:
    assert Permit(lambda: 5.0).remaining() == 0


def test_a_permit_runs_out_with_the_clock() -> None:
    now = [0.0]
    permit = Permit(lambda: now[0])
    permit.extend(10.0)
    assert permit.remaining() == 10.0
    now[0] = 9.0
    assert permit.remaining() == 1.0
    now[0] = 30.0
    assert permit.remaining() == 0


def test_a_revoked_permit_is_over_at_once() -> None:
    permit = Permit(lambda: 0.0)
    permit.extend(10.0)
    permit.revoke()
    assert permit.remaining() == 0


def test_who_works_alone_may_always_write() -> None:
    assert Unlimited().remaining() > 1e9
