"""Files for browsers, each under a name that changes with its content, so that every cache may keep it for a year."""

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
        digest = sha256(content).hexdigest()[:16]
        return cls(f"{PREFIX}{path.stem}.{digest}{path.suffix}", content, guess_type(path.name)[0] or "")


@cache
def assets() -> Mapping[str, Asset]:
    """Every file by its plain name."""
    return {path.name: Asset.of(path) for path in _FOLDER.iterdir()}


@cache
def _by_url() -> Mapping[str, Asset]:
    return {asset.url: asset for asset in assets().values()}


async def get_asset(request: web.Request) -> web.Response:
    """GET /api/static/{name}: 200. Problems: 404, also for an earlier content of the file."""
    asset = _by_url().get(request.path)
    if asset is None:
        raise NotFound("no file has this name now")
    return web.Response(body=asset.content, content_type=asset.media_type, headers={"Cache-Control": FOR_EVER})


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
