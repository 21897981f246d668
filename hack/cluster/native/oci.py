"""Writes an OCI archive (a tar of an image layout) with several images that share layers: OCI image layout 1.0."""

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
CHUNK: Final = 1 << 20


@dataclass(frozen=True)
class Image:
    """One image: its full references, its layers from the bottom up (uncompressed tar files), its entry point."""

    references: tuple[str, ...]
    layers: tuple[Path, ...]
    entrypoint: tuple[str, ...] = ()


def layer(place: Path, files: Mapping[str, Path], links: Mapping[str, str]) -> None:
    """Write a layer of executable files (path in the image → file here) and symbolic links (path → target)."""
    with tarfile.open(place, "w") as archive:
        for name, source in sorted(files.items()):
            member = archive.gettarinfo(source, name)
            member.mode, member.mtime, member.uid, member.gid, member.uname, member.gname = 0o755, 0, 0, 0, "", ""
            with source.open("rb") as content:
                archive.addfile(member, content)
        for name, target in sorted(links.items()):
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.mode = tarfile.SYMTYPE, target, 0o777
            archive.addfile(member)


def write(place: Path, images: Sequence[Image]) -> None:
    """Write the archive; every reference of an image becomes a name of it when containerd imports the file."""
    digests = {path: _digest(path) for image in images for path in image.layers}
    with tarfile.open(place, "w") as archive:
        for path, digest in digests.items():
            archive.add(path, _blob(digest))
        manifests = [entry for image in images for entry in _add_image(archive, image, digests)]
        index = {"schemaVersion": 2, "manifests": manifests}
        _add(archive, "index.json", index)
        _add(archive, "oci-layout", {"imageLayoutVersion": "1.0.0"})


def pack(place: Path, folders: Mapping[Path, Sequence[str]]) -> None:
    """Write the archive from images in folders as the transport `dir:` leaves them (folder → names).

    Each folder holds manifest.json and its blobs, named by their digests in hexadecimal; equal blobs are written once.
    """
    packed: set[str] = set()
    manifests = []
    with tarfile.open(place, "w") as archive:
        for folder, names in folders.items():
            content = (folder / "manifest.json").read_bytes()
            manifest = json.loads(content)
            for blob in (manifest["config"], *manifest["layers"]):
                if blob["digest"] not in packed:
                    packed.add(blob["digest"])
                    archive.add(folder / blob["digest"].partition(":")[2], _blob(blob["digest"]))
            described = _add_content(archive, "manifest.v1+json", content)
            manifests += [described | {"annotations": {"io.containerd.image.name": name}} for name in names]
        _add(archive, "index.json", {"schemaVersion": 2, "manifests": manifests})
        _add(archive, "oci-layout", {"imageLayoutVersion": "1.0.0"})


def _add_image(archive: tarfile.TarFile, image: Image, digests: Mapping[Path, str]) -> list[dict[str, Any]]:
    config = {
        "architecture": ARCHITECTURES[platform.machine()],
        "os": "linux",
        "config": {"Entrypoint": list(image.entrypoint), "Env": ["PATH=/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin"]},
        "rootfs": {"type": "layers", "diff_ids": [digests[path] for path in image.layers]},
    }
    layers = [_descriptor("layer.v1.tar", digests[path], path.stat().st_size) for path in image.layers]
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": _add_blob(archive, "config.v1+json", config),
        "layers": layers,
    }
    described = _add_blob(archive, "manifest.v1+json", manifest)
    return [described | {"annotations": {"io.containerd.image.name": name}} for name in image.references]


def _descriptor(kind: str, digest: str, size: int) -> dict[str, Any]:
    return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": digest, "size": size}


def _add_blob(archive: tarfile.TarFile, kind: str, document: Mapping[str, Any]) -> dict[str, Any]:
    return _add_content(archive, kind, json.dumps(document).encode())


def _add_content(archive: tarfile.TarFile, kind: str, content: bytes) -> dict[str, Any]:
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    _add_file(archive, _blob(digest), content)
    return _descriptor(kind, digest, len(content))


def _add(archive: tarfile.TarFile, name: str, document: Mapping[str, Any]) -> None:
    _add_file(archive, name, json.dumps(document).encode())


def _add_file(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def _blob(digest: str) -> str:
    return f"blobs/sha256/{digest.partition(':')[2]}"


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as content:
        while chunk := content.read(CHUNK):
            digest.update(chunk)
    return f"sha256:{digest.hexdigest()}"
