"""What the operator is told from outside."""

import pytest

from ccl_operator.config import READS, WRITES, Config, InvalidConfig, Pace


def test_images_are_read_by_major_version_and_empty_ones_left_out():
    config = Config.from_environment(
        {
            "CCL_IMAGE_REDIS": "redis:8",
            "CCL_IMAGE_POSTGRES_17": "postgres:17",
            "CCL_IMAGE_POSTGRES_16": "",
            "CCL_IMAGE_POSTGRES_X": "odd",
            "CCL_IMAGE_BACKUP_17": "backup:17",
        }
    )
    assert config.redis_image == "redis:8"
    assert dict(config.postgres_images) == {17: "postgres:17"}
    assert dict(config.backup_images) == {17: "backup:17"}


def test_the_pace_is_what_the_environment_says_or_the_usual_one():
    assert Config.from_environment({WRITES: "1", READS: "1000"}).pace == Pace(writes=1, reads=1000)
    assert Config.from_environment({WRITES: "", READS: "30"}).pace == Pace(writes=50, reads=30)
    assert Config.from_environment({}).pace == Pace(writes=50, reads=100)


@pytest.mark.parametrize("variable", [WRITES, READS])
@pytest.mark.parametrize("nonsense", ["0", "1001", "-5", "1.5", "fast", " 5", "1e3", "9" * 5000])
def test_a_pace_that_is_none_is_refused_with_the_variable_and_what_is_allowed(variable, nonsense):
    with pytest.raises(InvalidConfig, match=rf"{variable} must be a whole number from 1 to 1000"):
        Config.from_environment({variable: nonsense})


def test_events_are_told_beside_the_writes_at_a_fifth_of_their_pace():
    assert Pace(writes=200).events == 40
