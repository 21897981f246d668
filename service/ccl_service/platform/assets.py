"""Files for browsers, each under a name that changes with its content, so that every cache may keep it for a year.

While versions are mixed, a page of one asks another for a file under the name that it has there. It gets the file as it
is here, for this once: a page in a slightly other dress is better than one in none.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from mimetypes import guess_type
from pathlib import Path
from typing import Final

from aiohttp import web

from ccl_service.platform.limits import LimitClass
from ccl_service.platform.problems import NotFound
from ccl_service.platform.route import Auth, Priority, Route

PREFIX: Final = "/api/static/"
FOR_EVER: Final = "public, max-age=31536000, immutable"
THIS_ONCE: Final = "no-store"
DIGITS: Final = 16
_NAME: Final = re.compile(rf"(.+)\.[0-9a-f]{{{DIGITS}}}(\.[a-z0-9]+)")
_FOLDER: Final = Path(__file__).parent / "static"


@dataclass(frozen=True, slots=True)
class Asset:
    """A file. ``url`` is the path that it is served under."""

    url: str
    content: bytes
    media_type: str

    @classmethod
    def of(cls, path: Path) -> "Asset":
        """The file at ``path``, read."""
        content = path.read_bytes()
        digest = sha256(content).hexdigest()[:DIGITS]
        return cls(f"{PREFIX}{path.stem}.{digest}{path.suffix}", content, guess_type(path.name)[0] or "")


@cache
def assets() -> Mapping[str, Asset]:
    """Every file by its plain name."""
    return {path.name: Asset.of(path) for path in _FOLDER.iterdir()}


async def get_asset(request: web.Request) -> web.Response:
    """GET /api/static/{name}: 200, also for another version's name of a file. Problems: 404."""
    name = _NAME.fullmatch(request.match_info["name"])
    asset = assets().get(name[1] + name[2]) if name else None
    if asset is None:
        raise NotFound("no file has this name")
    kept = FOR_EVER if request.path == asset.url else THIS_ONCE
    return web.Response(body=asset.content, content_type=asset.media_type, headers={"Cache-Control": kept})


ROUTES: Final = (
    Route(
        "GET",
        f"{PREFIX}{{name}}",
        get_asset,
        Auth.PUBLIC,
        LimitClass.DEFAULT,
        priority=Priority.READ,
        produces="text/css",
        summary="A file that a page needs",
    ),
)
