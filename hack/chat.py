"""A chat client for the command line. Programs use ``ccl_service.client``.

Usage: python -m hack.chat --url URL [--return-token TOKEN] [--say TEXT ...]

Without --say it reads lines from the terminal until the conversation is closed or input ends. The token is the last
part of the link in a first-contact mail; with it the conversation belongs to that lead.
"""

import argparse
import asyncio
import contextlib
import sys
import threading
from collections.abc import AsyncIterator

from ccl_service.client import ApiError, Unreachable, converse


async def talk(url: str, return_token: str | None, lines: list[str]) -> None:
    """Say ``lines``, or what is typed when there are none, and print the answers as they come."""
    async with converse(url, return_token=return_token) as conversation:
        print(f"Cathy: {conversation.greeting}", flush=True)
        async for line in _said(lines) if lines else _typed():
            print("Cathy:", end="", flush=True)
            await conversation.say(line, lambda segment: print(f" {segment}", end="", flush=True))
            print({"handoff": "  [a person was asked for]", "close": "  [closed]"}.get(conversation.action, ""))
            if conversation.closed:
                return


async def _said(lines: list[str]) -> AsyncIterator[str]:
    for line in lines:
        print(f"You:   {line}", flush=True)
        yield line


async def _typed() -> AsyncIterator[str]:
    while (line := await _typed_line()) is not None:
        if line.strip():
            yield line
    print()


async def _typed_line() -> str | None:
    """One line from the terminal; None at the end of input. The thread is a daemon, so that Ctrl-C does not wait for
    the Enter key, as it would with the event loop's own executor."""
    loop = asyncio.get_running_loop()
    typed: asyncio.Future[str | None] = loop.create_future()

    def read() -> None:
        try:
            line: str | None = input("You:   ")
        except EOFError:
            line = None
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(typed.set_result, line)

    threading.Thread(target=read, daemon=True).start()
    return await typed


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m hack.chat", description="chat with Cathy")
    parser.add_argument("--url", required=True, help="base URL of the service, such as http://localhost:8080")
    parser.add_argument("--return-token", help="the token of a return link: binds the conversation to its lead")
    parser.add_argument("--say", action="append", default=[], metavar="TEXT", help="say this; may be given repeatedly")
    args = parser.parse_args()
    try:
        asyncio.run(talk(args.url, args.return_token, args.say))
    except KeyboardInterrupt:
        sys.exit(130)
    except Unreachable as exc:
        sys.exit(f"{args.url}: {exc}: is the service up, or the port-forward running?")
    except ApiError as exc:
        sys.exit(str(exc))


if __name__ == "__main__":
    main()
