"""What most tests of the operator's core start from: a specification, a configuration, answers of pods."""

import base64
from datetime import UTC, datetime
from typing import Any

from ccl_contract.readiness import Check, CheckStatus, ReadinessReport
from ccl_contract.schema import Database, SchemaState
from ccl_operator.config import Config

START = datetime(2030, 1, 1, tzinfo=UTC)
CONFIG = Config(
    redis_image="docker.io/valkey/valkey:8",
    pgbouncer_image="localhost/ccl/pgbouncer:1",
    postgres_images={17: "docker.io/library/postgres:17"},
    backup_images={17: "localhost/ccl/ccl-backup:17"},
)
SPEC: dict[str, Any] = {
    "image": "localhost/ccl/ccl-service:1",
    "replicas": 2,
    "environment": "production",
    "http": {"host": "loans.example.com", "corsOrigins": ["https://loans.example.com"]},
    "secrets": {
        "mailgun": {"secretRef": "mailgun", "domain": "mg.example.com"},
        "openai": {"secretRef": "openai"},
    },
    "mail": {"from": "Cathy <cathy@mg.example.com>", "postalAddress": "100 Example Street"},
    "database": {"embedded": {"version": 17, "storage": "1Gi"}},
    "sessions": {"redis": {"embedded": {}}},
    "promotion": {"minReady": "2s", "deadline": "5m"},
    "backup": {"schedule": "0 2 * * *", "destination": {"pvc": {"size": "1Gi"}}},
}


def stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def secret(**values: str) -> dict[str, Any]:
    return {"metadata": {}, "data": {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}}


def passing(revision: str) -> ReadinessReport:
    return ReadinessReport(
        status=CheckStatus.PASS,
        revision=revision,
        schema=SchemaState(own=3, epoch=3, min_compatible=1),
        database=Database(version_num=170004, max_connections=300),
        checks=(Check(id="DatabaseReachable", status=CheckStatus.PASS),),
    )


def failing(revision: str, check: str = "MailSender") -> ReadinessReport:
    bad = Check(id=check, status=CheckStatus.FAIL, message="no sender is set", action="set mail.from")
    return passing(revision).model_copy(update={"status": CheckStatus.FAIL, "checks": (bad,)})


MIGRATED: dict[str, Any] = {
    "v": 1,
    "own": 3,
    "epoch": 3,
    "min_compatible": 1,
    "pending": [],
    "database": {"version_num": 170004, "max_connections": 300},
}
