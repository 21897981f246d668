"""What the operator is told from outside."""

from ccl_operator.config import Config


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
