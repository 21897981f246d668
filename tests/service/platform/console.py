"""The console command in a process of its own, with nothing in its environment but what a test names."""

import asyncio
import sys
from collections.abc import Mapping
from dataclasses import dataclass

JWT = "jwt-secret-of-the-service-tests-0001"


@dataclass(frozen=True)
class Done:
    """How the command ended."""

    code: int
    out: str
    err: str


async def start(*arguments: str, environ: Mapping[str, str]) -> asyncio.subprocess.Process:
    """``ccl-service ARGUMENTS``, running; its end is the caller's business."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "ccl_service",
        *arguments,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": "operator:service", **environ},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def ccl_service(*arguments: str, environ: Mapping[str, str]) -> Done:
    """``ccl-service ARGUMENTS`` to its end."""
    process = await start(*arguments, environ=environ)
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return Done(process.returncode, out.decode(), err.decode())
