"""Runs outside programs for everything under hack/: one-line errors, visible progress.

Knows nothing of clusters or images; those packages say what to run.
"""

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Final

#: A command line that is put together from words and paths.
Command = list[str | Path]
#: How much of a failed program's output is worth showing.
TAIL_LINES: Final = 15
#: Seconds between two signs of life of a long step.
TICK: Final = 15.0
#: Seconds that a program which was asked to end gets.
END_TIMEOUT: Final = 10.0
DISK_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
#: What programs say of ENOSPC, in lower case.
NO_SPACE: Final = "no space left on device"


class Failure(Exception):
    """Something that the person at the keyboard has to know: what happened, and the fix where there is one."""

    def __init__(self, message: str, *, fix: str | None = None) -> None:
        super().__init__(message)
        self.message, self.fix = message, fix

    def __str__(self) -> str:
        return f"{self.message}; fix: {self.fix}" if self.fix else self.message


def main_with_errors(main: Callable[[], int]) -> None:
    """Run ``main`` and exit with its code: 1 and one line for a Failure, a time-out or a full disk, 130 for Ctrl-C."""
    try:
        code = main()
    except Failure as failure:
        print(f"ccl: {failure}", file=sys.stderr)
        code = 1
    except subprocess.TimeoutExpired as late:
        print(f"ccl: {' '.join(map(str, late.cmd[:4]))}: no end after {late.timeout:.0f} s", file=sys.stderr)
        code = 1
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        print(f"ccl: {_disk_full(error.filename or 'writing a file')}", file=sys.stderr)
        code = 1
    except KeyboardInterrupt:
        print("ccl: interrupted", file=sys.stderr)
        code = 130
    sys.exit(code)


def run(
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    log: Path | None = None,
    timeout: float | None = None,
    doing: str | None = None,
) -> str:
    """Run a program to its end and return its standard output.

    ``env`` is added to the current environment; with ``log`` both streams are appended there instead of returned;
    ``timeout`` is in seconds. Raises Failure, naming ``doing`` (else the program) and the end of the output, when it
    cannot be started, ends with another code than 0, or takes longer than ``timeout``.
    """
    words = [str(word) for word in command]
    what = doing or " ".join(words[:4])
    with log.open("ab") if log else nullcontext() as target:
        try:
            done = subprocess.run(
                words,
                cwd=cwd,
                env=os.environ | env if env else None,
                input=stdin.encode() if stdin is not None else None,
                stdin=subprocess.DEVNULL if stdin is None else None,
                stdout=target or subprocess.PIPE,
                stderr=subprocess.STDOUT if target else subprocess.PIPE,
                check=False,
                timeout=timeout,
            )
        except FileNotFoundError as error:
            raise Failure(f"{what}: {error.filename} is not installed") from error
        except subprocess.TimeoutExpired as error:
            raise Failure(f"{what}: no end after {timeout:.0f} s{_see(log)}") from error
    if done.returncode:
        raise _failed(what, done, log)
    return "" if log else done.stdout.decode(errors="replace")


def _failed(what: str, done: subprocess.CompletedProcess[bytes], log: Path | None) -> Failure:
    text = log.read_text(errors="replace") if log else (done.stderr or done.stdout).decode(errors="replace")
    if NO_SPACE in text.lower():
        return _disk_full(what)
    return Failure(f"{what} failed with code {done.returncode}{_see(log)}:\n{tail(text)}")


def _disk_full(what: str) -> Failure:
    return Failure(f"{what}: the disk is full", fix="free some disk space (`df -h` tells where) and run it again")


def start_detached(command: Sequence[str | Path], *, cwd: Path, log: Path) -> int:
    """Start a program that outlives this one, in a session of its own and adopted by init; both streams go to ``log``.

    Returns its process id. Raises Failure when the shell that starts it cannot.
    """
    script = 'cd "$1" && log=$2 && shift 2 && { "$@" </dev/null >>"$log" 2>&1 & echo $!; }'
    words = ["sh", "-c", script, "sh", str(cwd), str(log), *(str(word) for word in command)]
    # A Popen of our own would have to be waited for, and warns at its end when nobody does.
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False, start_new_session=True)
    if done.returncode:
        raise Failure(f"{command[0]} could not be started:\n{tail(done.stderr.decode(errors='replace'))}")
    return int(done.stdout)


@contextmanager
def beside(
    command: Sequence[str | Path], log: Path, *, cwd: Path | None = None, end: signal.Signals = signal.SIGKILL
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program until the block ends; both streams are appended to ``log``.

    ``end`` is sent to it and to all that it has started, and ten seconds later SIGKILL. Where the system can do that,
    the program gets ``end`` also when this process is killed.
    """
    # In a session of its own it hears of Ctrl-C from here alone, and once.
    guard = ["setpriv", "--pdeathsig", end.name.removeprefix("SIG")] if shutil.which("setpriv") else []
    words = [*guard, *map(str, command)]
    with log.open("ab") as output:
        process = subprocess.Popen(
            words, cwd=cwd, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield process
    finally:
        for number in (end, signal.SIGKILL):
            if process.poll() is None:
                os.killpg(process.pid, number)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=END_TIMEOUT)


def _see(log: Path | None) -> str:
    return f" (whole output in {log})" if log else ""


def tail(text: str, lines: int = TAIL_LINES) -> str:
    """The last lines of a program's output, indented."""
    return "\n".join(f"  | {line}" for line in text.rstrip().splitlines()[-lines:])


@contextmanager
def progress(title: str, *, usually: str | None = None) -> Iterator[None]:
    """Print the title of a step, a sign of life every 15 s while it lasts, and the seconds that it took."""
    started, over = time.monotonic(), threading.Event()

    def tick() -> None:
        while not over.wait(TICK):
            print(f"    {title}: {time.monotonic() - started:.0f} s so far", flush=True)

    ticker = threading.Thread(target=tick, daemon=True)
    print(f"  - {title}{f' (usually {usually})' if usually else ''}", flush=True)
    ticker.start()
    try:
        yield
    finally:
        over.set()
        ticker.join()
    if (took := time.monotonic() - started) >= 2:
        print(f"    {title}: done in {took:.0f} s", flush=True)


def wait_until(condition: Callable[[], bool], *, timeout: float, what: str, every: float = 0.1) -> None:
    """Poll until ``condition()`` holds. Raises Failure after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise Failure(f"{what}: not after {timeout:.0f} s")
        time.sleep(every)


def require_space(place: Path, needed: int) -> None:
    """Raise Failure when fewer than ``needed`` bytes are free on the file system of ``place``, which need not exist."""
    there = next(p for p in (place, *place.parents) if p.exists())
    free = shutil.disk_usage(there).free
    if free < needed:
        raise Failure(f"{free / 1e9:.1f} GB free at {there}, {needed / 1e9:.1f} GB needed", fix="free some disk space")
