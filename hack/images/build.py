"""Builds the images of catalog.py with a builder, only what is missing, and brings them into a cluster."""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hack.cluster import Cluster, cache, choice
from hack.cluster.native import requirements as native_requirements
from hack.images import catalog, wheels
from hack.images.builder import PARALLEL, Builder, builder
from hack.images.catalog import HERE, Program, Server, StandIn
from hack.packages import ensure_packages
from hack.run import Failure, progress


@dataclass(frozen=True)
class Target:
    """One image that is wanted."""

    name: str
    reference: str
    """What manifests name."""
    source: str
    """What the builder calls it. Differs for a stand-in, whose public name does not tell its content."""
    make: Callable[[Builder], None]
    """Builds ``source``."""


def references() -> Mapping[str, str]:
    """Name → full reference of every image, as manifests name it. Builds nothing, but resolves missing wheels."""
    with _builder(docker=choice.docker_answers()) as chosen:
        return {target.name: target.reference for target in _targets(chosen, catalog.NAMES)}


def build(names: Sequence[str] = ()) -> Mapping[str, str]:
    """Build the named images (all when none is named) that are not built yet; returns name → reference."""
    with _builder(docker=choice.docker_answers()) as chosen:
        targets = _targets(chosen, catalog.known(names))
        _build(chosen, targets)
        return {target.name: target.reference for target in targets}


def build_and_load(cluster: Cluster, names: Sequence[str] = ()) -> Mapping[str, str]:
    """Build what is missing and bring it into the cluster, or push it when the cluster is not ours; name → reference.

    Raises Failure when a build fails, or when the cluster is not ours and CCL_REGISTRY is not set.
    """
    if cluster.provider == "existing" and catalog.registry() == "localhost":
        raise Failure(
            "images cannot be copied into a cluster that is not ours",
            fix="set CCL_REGISTRY to a registry that its nodes can pull from",
        )
    docker = cluster.provider == "kind" or (cluster.provider == "existing" and choice.docker_answers())
    with _builder(docker=docker) as chosen:
        targets = _targets(chosen, catalog.known(names))
        _build(chosen, targets)
        if cluster.provider == "existing":
            for target in targets:
                if catalog.stand_in(target.name) is None:
                    chosen.push(target.source)
        else:
            _load(chosen, cluster, targets)
    return {target.name: target.reference for target in targets}


@contextmanager
def _builder(*, docker: bool) -> Iterator[Builder]:
    if not docker:
        ensure_packages(native_requirements.PACKAGES)
    with builder(docker=docker) as chosen:
        yield chosen


def _targets(chosen: Builder, names: Sequence[str]) -> list[Target]:
    return [_target(chosen, name) for name in names]


def _target(chosen: Builder, name: str) -> Target:
    if name == catalog.UNREADY:
        return _unready(chosen)
    if stand_in := catalog.stand_in(name):
        return _stand_in(chosen, stand_in)
    if server := catalog.server(name):
        return _server(chosen, server)
    return _program(chosen, catalog.program(name))


def _program(chosen: Builder, wanted: Program) -> Target:
    folder = wheels.folder(wanted.name, catalog.requirements(wanted, catalog.project()))
    names = sorted(wheel.name for wheel in folder.glob("*.whl"))
    dockerfile = HERE / "python" / "deps.Dockerfile"
    key = cache.key(chosen.base_name() or "", dockerfile, wanted.apt, *names)
    deps = f"localhost/ccl/deps-{wanted.repository}:{key}"
    # Read once: what the tag is made from is what goes in, also while somebody edits the tree.
    files = catalog.files(wanted)
    tag = cache.key(deps, HERE / "python" / "code.Dockerfile", *(part for item in files.items() for part in item))
    reference = f"{catalog.registry()}/ccl/{wanted.repository}:{tag}"

    def make(builder: Builder) -> None:
        if not builder.has(deps):
            with _context({"wheels": folder}) as context:
                builder.build(context, dockerfile, deps, _base(builder) | {"APT": wanted.apt})
            builder.forget(deps)
        with _code_context(files) as context:
            builder.build(context, HERE / "python" / "code.Dockerfile", reference, {"DEPS": deps})

    return Target(wanted.name, reference, reference, make)


def _unready(chosen: Builder) -> Target:
    service, folder = _program(chosen, catalog.program("ccl-service")), HERE / "unready"
    reference = f"{catalog.registry()}/ccl/{catalog.UNREADY}:{cache.key(service.reference, folder)}"

    def make(builder: Builder) -> None:
        if not builder.has(service.source):
            service.make(builder)
        builder.build(folder, folder / "Dockerfile", reference, {"SERVICE": service.source})

    return Target(catalog.UNREADY, reference, reference, make)


def _stand_in(chosen: Builder, wanted: StandIn) -> Target:
    folder = HERE / wanted.folder
    source = f"localhost/ccl/stand-in-{wanted.folder}:{cache.key(chosen.base_name() or '', folder)}"

    def make(builder: Builder) -> None:
        builder.build(folder, folder / "Dockerfile", source, _base(builder))

    return Target(wanted.name, wanted.reference, source, make)


def _server(chosen: Builder, wanted: Server) -> Target:
    folder = HERE / wanted.folder
    reference = f"{catalog.registry()}/ccl/{wanted.name}:{cache.key(chosen.base_name() or '', folder)}"

    def make(builder: Builder) -> None:
        builder.build(folder, folder / "Dockerfile", reference, _base(builder))

    return Target(wanted.name, reference, reference, make)


def _base(builder: Builder) -> dict[str, str]:
    name = builder.base_name()
    return {"BASE": name} if name else {}


def _build(chosen: Builder, targets: Sequence[Target]) -> None:
    missing = [t for t in targets if _is_ours(chosen, t) and not chosen.has(t.source)]
    if not missing:
        return
    chosen.make_base()
    # The failing service is FROM the service: alone at the end, so that the service is not built twice at once.
    last = [t for t in missing if t.name == catalog.UNREADY]
    with ThreadPoolExecutor(PARALLEL) as pool:
        for _ in pool.map(lambda target: _make(chosen, target), [t for t in missing if t not in last]):
            pass
    for target in last:
        _make(chosen, target)


def _make(chosen: Builder, target: Target) -> None:
    with progress(f"building image {target.name}"):
        target.make(chosen)
        # Every change of the code makes a new tag: without this the storage would grow for ever.
        chosen.forget(target.source)


def _is_ours(chosen: Builder, target: Target) -> bool:
    return chosen.stand_ins or catalog.stand_in(target.name) is None


def _load(chosen: Builder, cluster: Cluster, targets: Sequence[Target]) -> None:
    provider = choice.provider(cluster.provider)
    ours = [t for t in targets if _is_ours(chosen, t)]
    there = provider.loaded([t.source for t in ours])
    absent = [t for t in ours if t.source not in there]
    if not absent:
        return
    names = {name: t.source for t in absent for name in (t.reference, t.source)}
    with progress(f"loading images: {', '.join(t.name for t in absent)}"), cache.scratch() as folder:
        archive = folder / "images.tar"
        chosen.export(names, archive)
        provider.load([archive])


@contextmanager
def _context(folders: Mapping[str, Path]) -> Iterator[Path]:
    """A build context made of hard links, so that nothing is copied."""
    with cache.scratch() as context:
        for target, source in folders.items():
            shutil.copytree(source, context / target, copy_function=_link)
        yield context


def _link(source: str, target: str) -> None:
    Path(target).hardlink_to(source)


@contextmanager
def _code_context(files: Mapping[str, bytes]) -> Iterator[Path]:
    """A build context with these files; those in bin/ are executable."""
    with cache.scratch() as context:
        for folder in ("src", "bin"):
            (context / folder).mkdir()
        for target, content in files.items():
            place = context / target
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
            place.chmod(0o755 if target.startswith("bin/") else 0o644)
        for place in context.rglob("*/"):
            place.chmod(0o755)
        yield context
