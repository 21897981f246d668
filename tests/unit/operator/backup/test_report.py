import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ccl_contract.backup import REPORT_MAX_BYTES, BackupReport, BackupStage
from ccl_operator.backup import report
from ccl_operator.backup.failure import BackupFailed, BackupStopped, StepFailed, during


@pytest.mark.parametrize("message", ["", "ordinary", "\x01" * 1000, "\U0001f697" * 1000, '"' * 1000])
def test_a_report_always_fits_the_termination_message_and_stays_readable(message: str) -> None:
    full = BackupReport(
        id="20260301T120000Z-bbbbbb",
        stage=BackupStage.DUMP,
        ok=False,
        message=message,
        size_bytes=10**15,
        sha256="f" * 64,
        finished_at=datetime(2026, 3, 1, tzinfo=UTC),
    )
    body = report.render(full)
    assert len(body) <= REPORT_MAX_BYTES
    assert full.message.startswith(BackupReport.model_validate_json(body).message)


def test_a_report_goes_where_it_is_told(tmp_path: Path) -> None:
    target = tmp_path / "log"
    written = BackupReport(id="x", stage=BackupStage.PRUNE, ok=True)
    assert report.write(written, target) == target
    assert BackupReport.model_validate_json(target.read_bytes()) == written


def test_a_failed_step_is_named_by_its_stage() -> None:
    with pytest.raises(BackupFailed) as failure, during(BackupStage.READ_BACK):
        raise StepFailed("it is torn")
    assert (failure.value.stage, failure.value.reason) == (BackupStage.READ_BACK, "it is torn")


def test_an_inner_stage_wins() -> None:
    with pytest.raises(BackupFailed) as failure, during(BackupStage.PRUNE), during(BackupStage.DUMP):
        raise StepFailed("full")
    assert failure.value.stage is BackupStage.DUMP


def test_a_bug_is_reported_as_one() -> None:
    with pytest.raises(BackupFailed, match="unexpected KeyError") as failure, during(BackupStage.PUBLISH):
        raise KeyError("size")
    assert not isinstance(failure.value, BackupStopped)


def test_the_runner_loads_neither_kopf_nor_kubernetes() -> None:
    program = (
        "import sys, ccl_operator.backup.cli; "
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {'kopf', 'kubernetes', 'aiohttp'}))"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
