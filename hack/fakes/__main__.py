"""``python -m hack.fakes mailgun|openai|all``: run the fakes until SIGINT or SIGTERM.

Reads FAKE_MAILGUN_API_KEY, FAKE_MAILGUN_SIGNING_KEY, FAKE_MAILGUN_WEBHOOK_URL (optional) and FAKE_OPENAI_API_KEY;
the port comes from --port or PORT. ``all`` puts the fake OpenAI on the port after the fake Mailgun's.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import sys

from hack.fakes.mailgun import start_mailgun
from hack.fakes.openai import start_openai


def main() -> None:
    """Parse, run, and turn a missing setting or a taken port into one line with the fix."""
    parser = argparse.ArgumentParser(
        prog="python -m hack.fakes", description="outside worlds for development and tests"
    )
    parser.add_argument("which", choices=("mailgun", "openai", "all"))
    parser.add_argument("--host", default="0.0.0.0", help="address to listen on (default: all)")
    parser.add_argument("--port", type=int, default=int(os.environ.get("PORT", "8080")))
    args = parser.parse_args()
    try:
        asyncio.run(run(args.which, args.host, args.port))
    except KeyError as exc:
        sys.exit(f"{exc.args[0]} is not set: set it to the value that the service is given")
    except OSError as exc:
        sys.exit(f"port {args.port} cannot be used ({exc.strerror}): stop the other program or pass --port")


async def run(which: str, host: str, port: int) -> None:
    """Serve until told to stop. Raises KeyError for a missing setting, OSError for a taken port."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with contextlib.AsyncExitStack() as stack:
        if which in ("mailgun", "all"):
            mailgun = start_mailgun(
                api_key=os.environ["FAKE_MAILGUN_API_KEY"],
                signing_key=os.environ["FAKE_MAILGUN_SIGNING_KEY"],
                webhook_url=os.environ.get("FAKE_MAILGUN_WEBHOOK_URL") or None,
                host=host,
                port=port,
            )
            print(f"fake Mailgun at {(await stack.enter_async_context(mailgun)).url} (mails: /outbox)", flush=True)
        if which in ("openai", "all"):
            key = os.environ["FAKE_OPENAI_API_KEY"]
            openai = start_openai(api_key=key, host=host, port=port + 1 if which == "all" and port else port)
            print(f"fake OpenAI at {(await stack.enter_async_context(openai)).url}", flush=True)
        await stop.wait()


if __name__ == "__main__":
    main()
