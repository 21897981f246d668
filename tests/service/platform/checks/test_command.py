"""``ccl-service check``: for people a table, for programs a document, for scripts an exit code."""

from pathlib import Path

from ccl_contract.readiness import CheckStatus, ReadinessReport
from tests.service.platform.checks.outside import MAILGUN_KEY, OPENAI_KEY
from tests.service.processes import command


async def test_a_production_environment_in_order_is_ready_without_a_warning(production: dict[str, str]) -> None:
    code, out, err = await command(production, "check", "--json")
    report = ReadinessReport.model_validate_json(out)
    assert [check for check in report.checks if check.status is not CheckStatus.PASS] == []
    assert (code, err, report.status) == (0, "", CheckStatus.PASS)
    assert report.schema_ is not None


async def test_a_warning_stops_nothing(production: dict[str, str]) -> None:
    code, out, _ = await command(production | {"LOG_LEVEL": "debug"}, "check")
    first, action, *_, last = out.splitlines()
    assert first.split()[:2] == ["warn", "LogLevel"]
    assert action.strip().startswith("→ set it to warn")
    assert last.startswith("ready: 0 fail, 1 warn, ")
    assert code == 0


async def test_a_check_that_fails_stands_first_and_gives_exit_code_1(production: dict[str, str]) -> None:
    code, out, _ = await command(production | {"OPENAI_API_KEY": "sk-of-somebody-else"}, "check")
    assert out.splitlines()[0].split()[:2] == ["fail", "OpenAiKey"]
    assert out.splitlines()[-1].startswith("not ready: 1 fail, ")
    assert "somebody-else" not in out
    assert code == 1


async def test_a_database_that_is_away_is_a_verdict_and_no_crash(production: dict[str, str]) -> None:
    away = production | {"DATABASE_URL": "postgresql://ccl:8Zr1q0@127.0.0.1:1/ccl"}
    code, out, _ = await command(away, "check")
    assert {line.split()[1] for line in out.splitlines() if line.startswith("fail")} == {
        "DatabaseReachable",
        "SchemaCompatible",
    }
    assert "8Zr1q0" not in out
    assert code == 1


async def test_wrong_settings_are_one_line_that_names_each_and_no_value(
    production: dict[str, str], tmp_path: Path
) -> None:
    wrong = {"PORT": "many-ports", "JWT_SECRET": "", "JWT_SECRET_FILE": str(tmp_path / "absent"), "CORS_ORIGIN": "*"}
    code, out, err = await command(production | wrong, "check", "--json")
    assert (code, out) == (1, "")
    (line,) = err.splitlines()
    assert all(name in line for name in ("PORT", "JWT_SECRET_FILE", "CORS_ORIGIN"))
    assert not any(value in line for value in ("many-ports", str(tmp_path), OPENAI_KEY, MAILGUN_KEY))
