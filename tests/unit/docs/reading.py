"""Reads Markdown: what the documents name that the program must have."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[3]
PAGES: Final = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))

_FENCE: Final = re.compile(r"^ *```.*?\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
_SPAN: Final = re.compile(r"`([^`\n]+)`")
_LINK: Final = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
_PATH: Final = re.compile(
    r"(?<![\w.$-])(?:https?://[\w.:-]+|\$URL)?(/(?:api/[\w/{}<>.-]*\w[}>]?|health|ready|live)\b[}>]?)(?![\w/.])"
)
_ENDS: Final = frozenset({"|", "&", ";", ">", ">>", "<", "&&", "||", "#"})


def name(page: Path) -> str:
    """The page as people call it."""
    return str(page.relative_to(ROOT))


def code(text: str) -> list[str]:
    """Every fenced block and every span of code."""
    blocks = _FENCE.findall(text)
    return [*blocks, *_SPAN.findall(_FENCE.sub("", text))]


def commands(text: str, program: str) -> Iterator[list[str]]:
    """The words after ``program`` wherever code calls it."""
    for piece in code(text):
        for line in piece.replace("\\\n", " ").splitlines():
            if "│" in line or line.startswith("helm "):
                continue  # a drawing; releases and charts that are named as our programs are
            for found in re.finditer(rf"(?<![\w/.-]){program}\b(?![\w./:-])(.*)", line):
                yield list(_words(found[1]))


def _words(text: str) -> Iterator[str]:
    try:
        words = shlex.split(text.replace("<", "\\<").replace(">", "\\>") if "<" in text else text)
    except ValueError:
        words = text.split()
    for word in words:
        if word in _ENDS or word.startswith("#"):
            return
        yield word.rstrip("`)")


def paths(text: str) -> set[str]:
    """Paths of the HTTP API that code names (not Kubernetes' own); ``<id>`` and ``{id}`` are places for a value."""
    found = {match[1] for piece in code(text) for match in _PATH.finditer(piece)}
    return {path for path in found if not path.startswith("/api/v1/")}


def links(text: str) -> list[str]:
    """Targets of links within the project."""
    return [
        link for link in _LINK.findall(_FENCE.sub("", text)) if "://" not in link and not link.startswith("mailto:")
    ]


def anchors(text: str) -> set[str]:
    """The fragments of a page's headings, as GitHub makes them."""
    heads = re.findall(r"^#+ +(.+)$", _FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def words(text: str, pattern: str) -> set[str]:
    """What matches ``pattern`` in code."""
    return {match for piece in code(text) for match in re.findall(pattern, piece)}
