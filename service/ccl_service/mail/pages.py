"""The pages behind links in mail. Plain HTML without scripts or outside assets; no personal data. Pure."""

from html import escape


def _page(title: str, *paragraphs: str) -> str:
    body = "\n".join(paragraphs)
    return (
        "<!doctype html>\n"
        '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<meta name="robots" content="noindex"><title>{escape(title)}</title></head>\n'
        f"<body><main><h1>{escape(title)}</h1>\n{body}\n</main></body></html>\n"
    )


def welcome_back(until: str) -> str:
    """Where a return link leads. Opening it changes nothing: mail scanners open links too."""
    return _page(
        "Welcome back",
        "<p>Your application is where you left it.</p>",
        "<p>Cathy, our AI assistant, can take it from here: open the chat with this link, and she knows where you"
        " stopped. You can ask for a person at any time.</p>",
        f"<p>This link works until {escape(until)}.</p>",
    )


def confirm_unsubscribe() -> str:
    """Asks once; only the button acts."""
    return _page(
        "Unsubscribe",
        "<p>Press the button and we will not write to you again.</p>",
        '<form method="post"><button type="submit">Unsubscribe</button></form>',
    )


def unsubscribed() -> str:
    """After the button, or the mailbox provider's one click."""
    return _page("You are unsubscribed", "<p>We will not write to you again.</p>")
