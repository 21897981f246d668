"""A chat client for the command line and for programs.

Usage: python -m hack.chat --url URL [--return-token TOKEN] [--say TEXT ...]

Without --say it reads lines from the terminal until the conversation is closed or input ends. The token is the last
part of the link in a first-contact mail; with it the conversation belongs to that lead.
"""

import argparse
import asyncio
import contextlib
import json
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final

import aiohttp

#: Seconds until the whole answer to one message has to be there.
ANSWER_WITHIN: Final = 60.0
TIMEOUT: Final = aiohttp.ClientTimeout(total=ANSWER_WITHIN, sock_connect=5)


class ChatRefused(Exception):
    """The service refused, or gave no answer in time. ``code`` is its problem code, empty when there was none."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class NotNow(Exception):
    """The service asks to come back in a moment."""


@dataclass(frozen=True)
class Event:
    """One server-sent event."""

    name: str
    id: str
    data: dict[str, Any]


@dataclass
class Conversation:
    """An open conversation. ``closed`` when Cathy ended it; ``action`` is that of the last answer."""

    http: aiohttp.ClientSession
    greeting: str
    conversation_id: str
    action: str = "continue"

    @property
    def closed(self) -> bool:
        """Whether another message would be refused."""
        return self.action == "close"

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, url: str, *, return_token: str | None = None) -> "AsyncIterator[Conversation]":
        """Open a conversation at the service's base URL. Raises ChatRefused."""
        body = {"return_token": return_token} if return_token else {}
        async with aiohttp.ClientSession(timeout=TIMEOUT) as http:
            opened = await _json(http.post(f"{url.rstrip('/')}/api/chat/sessions", json=body))
        headers = {"Authorization": f"Bearer {opened['visitor_token']}"}
        async with aiohttp.ClientSession(url.rstrip("/") + "/", headers=headers, timeout=TIMEOUT) as http:
            yield cls(http, opened["greeting"], opened["conversation_id"])

    async def say(self, text: str, on_segment: Callable[[str], None] = lambda _: None) -> str:
        """Say something and return the whole answer; ``on_segment`` sees each sentence as it comes.

        Raises ChatRefused. A stream that breaks off is taken up again after the last sentence seen.
        """
        turn = (await _json(self.http.post("api/chat", json={"text": text})))["turn_id"]
        deadline = time.monotonic() + ANSWER_WITHIN
        pieces: list[str] = []
        last = "0"
        while time.monotonic() < deadline:
            try:
                async for event in self._events(turn, last):
                    if event.name == "segment":
                        last = event.id
                        pieces.append(event.data["text"])
                        on_segment(event.data["text"])
                    elif event.name == "done":
                        self.action = event.data["action"]
                        return " ".join(pieces)
                    elif event.name == "error" and not event.data["retryable"]:
                        raise ChatRefused(event.data["code"], "no answer will come")
            except (aiohttp.ClientError, TimeoutError, NotNow):
                pass  # the pod that served the stream may be going; another one has the rest
            await asyncio.sleep(0.2)
        raise ChatRefused("", f"no answer within {ANSWER_WITHIN:.0f} s")

    async def _events(self, turn: str, last: str) -> AsyncIterator[Event]:
        async with self.http.get(f"api/chat/turns/{turn}/events", headers={"Last-Event-ID": last}) as answer:
            if answer.status in (429, 503):
                raise NotNow
            if answer.status != 200:
                raise await _refused(answer)
            fields: dict[str, str] = {}
            async for raw in answer.content:
                line = raw.decode().rstrip("\r\n")
                if line:
                    name, _, value = line.partition(":")
                    fields[name] = value.removeprefix(" ")
                elif "data" in fields:
                    yield Event(fields.get("event", ""), fields.get("id", ""), json.loads(fields["data"]))
                    fields = {}


async def _json(call: Any) -> dict[str, Any]:
    async with call as answer:
        if answer.status >= 400:
            raise await _refused(answer)
        found: dict[str, Any] = await answer.json()
        return found


async def _refused(answer: aiohttp.ClientResponse) -> ChatRefused:
    try:
        problem = await answer.json(content_type=None)
        return ChatRefused(problem["code"], f"{problem['title']} ({problem['code']}) {problem['detail']}".strip())
    except (ValueError, KeyError, TypeError):
        return ChatRefused("", f"the service answered {answer.status}")


async def talk(url: str, return_token: str | None, lines: list[str]) -> None:
    """Say ``lines``, or what is typed when there are none, and print the answers as they come."""
    async with Conversation.open(url, return_token=return_token) as conversation:
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
    except ChatRefused as exc:
        sys.exit(str(exc))
    except (aiohttp.ClientError, TimeoutError, OSError) as exc:
        sys.exit(f"{args.url} does not answer ({type(exc).__name__}): is the service up, or the port-forward running?")


if __name__ == "__main__":
    main()
