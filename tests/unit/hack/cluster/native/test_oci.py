"""The archives are what the OCI image layout asks for."""

import hashlib
import json
import tarfile

import pytest

from hack.cluster.native import oci


@pytest.fixture
def archive(tmp_path):
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    layer = tmp_path / "layer.tar"
    oci.layer(layer, {"usr/bin/program": program}, {"usr/bin/alias": "program"})
    place = tmp_path / "images.tar"
    images = (
        oci.Image(("localhost/a:1", "localhost/b:1"), (layer,)),
        oci.Image(("localhost/c:1",), (layer,), ("/usr/bin/alias",)),
    )
    oci.write(place, images)
    return place


def read(place):
    with tarfile.open(place) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}


def test_every_blob_is_named_by_its_digest_and_every_reference_leads_to_one(archive):
    files = read(archive)
    blobs = {name.rpartition("/")[2]: content for name, content in files.items() if name.startswith("blobs/")}
    assert all(hashlib.sha256(content).hexdigest() == name for name, content in blobs.items())
    for entry in json.loads(files["index.json"])["manifests"]:
        manifest = json.loads(blobs[entry["digest"].partition(":")[2]])
        for blob in (manifest["config"], *manifest["layers"]):
            assert len(blobs[blob["digest"].partition(":")[2]]) == blob["size"]


def test_each_name_of_an_image_is_in_the_index(archive):
    manifests = json.loads(read(archive)["index.json"])["manifests"]
    names = [entry["annotations"]["io.containerd.image.name"] for entry in manifests]
    assert names == ["localhost/a:1", "localhost/b:1", "localhost/c:1"]


def test_a_layer_holds_executables_and_links_without_traces_of_the_builder(tmp_path, archive):
    with tarfile.open(tmp_path / "layer.tar") as layer:
        program, alias = layer.getmember("usr/bin/program"), layer.getmember("usr/bin/alias")
    assert (program.mode, program.mtime, program.uid, program.uname) == (0o755, 0, 0, "")
    assert alias.issym()
    assert alias.linkname == "program"


def test_folders_are_packed_with_equal_blobs_once(tmp_path):
    shared = b"layer"
    digest = hashlib.sha256(shared).hexdigest()
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / digest).write_bytes(shared)
        config = json.dumps({"name": name}).encode()
        (folder / hashlib.sha256(config).hexdigest()).write_bytes(config)
        manifest = {
            "config": {"digest": f"sha256:{hashlib.sha256(config).hexdigest()}"},
            "layers": [{"digest": f"sha256:{digest}"}],
        }
        (folder / "manifest.json").write_text(json.dumps(manifest))
    place = tmp_path / "packed.tar"
    oci.pack(place, {tmp_path / "one": ["localhost/one:1"], tmp_path / "two": ["localhost/two:1", "docker.io/two:2"]})
    with tarfile.open(place) as archive:
        names = archive.getnames()
    assert len(names) == len(set(names))
    assert len(json.loads(read(place)["index.json"])["manifests"]) == 3
