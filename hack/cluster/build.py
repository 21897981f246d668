"""Builds the Go programs of the development cluster into the cache: one multi-call node binary, its companions, Helm.

Every function may be called by several processes at once: the first builds, the others wait. Uses whatever module proxy
`go` is configured with. Images and the node itself are native/'s business.
"""

import re
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

from hack.cluster import cache
from hack.run import Command, Failure, beside, progress, run

KUBERNETES: Final = "1.34.4"
LOCAL_PATH: Final = "github.com/rancher/local-path-provisioner@v0.0.30"
HELM: Final = "helm.sh/helm/v3/cmd/helm@v3.21.4"
KIND: Final = "sigs.k8s.io/kind@v0.30.0"
KWOK: Final = "sigs.k8s.io/kwok/cmd/kwok@v0.7.0"
MIN_GO: Final = (1, 24)

SOURCE: Final = Path(__file__).parent / "go"
#: Names under which the node binary is the program of that name.
PROGRAMS: Final = ("kubectl", "kubeadm", "kubelet", "etcd", "kube-apiserver")
VERSION_FLAGS: Final = (
    f"-X k8s.io/component-base/version.gitVersion=v{KUBERNETES} -X k8s.io/component-base/version.gitMajor=1 "
    f"-X k8s.io/component-base/version.gitMinor=34 -X k8s.io/client-go/pkg/version.gitVersion=v{KUBERNETES}"
)


def parse_go_version(text: str) -> tuple[int, int]:
    """Major and minor from the output of `go version`. Raises ValueError when there is none in it."""
    found = re.search(r"go(\d+)\.(\d+)", text)
    if not found:
        raise ValueError(f"no Go version in {text!r}")
    return int(found[1]), int(found[2])


def require_go() -> None:
    """Raise Failure when Go is missing or older than 1.24."""
    wanted = ".".join(map(str, MIN_GO))
    fix = f"install Go >= {wanted} from https://go.dev/dl and put it on PATH"
    if shutil.which("go") is None:
        raise Failure(f"Go >= {wanted} is needed to build the cluster's programs and is not installed", fix=fix)
    version = parse_go_version(run(["go", "version"]))
    if version < MIN_GO:
        raise Failure(f"Go >= {wanted} is needed, found {'.'.join(map(str, version))}", fix=fix)


def require_tools() -> None:
    """Raise Failure when something has to be built and cannot be."""
    if not _all_built():
        require_go()


def _all_built() -> bool:
    return cache.find("node", _node_key()) is not None and cache.find("helm", cache.key(HELM)) is not None


def _node_key() -> str:
    return cache.key(SOURCE, VERSION_FLAGS, LOCAL_PATH)


def node_folder() -> Path:
    """Folder with `kube`, its names (kubectl, kubeadm …), `pause` and `local-path-provisioner`; built when missing."""
    key = _node_key()
    return cache.find("node", key) or _build("node", key, _build_node, "5 to 7 min the first time on 2 cores")


def node_binary() -> Path:
    """The multi-call binary: `kube kube-apiserver …`, `kube etcd …`, `kube kubectl …`; built when missing."""
    return node_folder() / "kube"


def kubectl_binary() -> Path:
    """kubectl from the node binary, also linked at <cache>/bin/kubectl."""
    place = cache.folder() / "bin" / "kubectl"
    cache.link(place, node_folder() / "kubectl")
    return place


def kubectl_alone() -> Path:
    """kubectl from PATH, else built by itself: for clusters that need no node binary, which macOS could not build."""
    if found := shutil.which("kubectl"):
        return Path(found)

    def build(folder: Path) -> None:
        command: Command = ["go", "build", "-trimpath", "-mod=readonly", "-ldflags", f"-s -w {VERSION_FLAGS}"]
        log = cache.folder() / "build-go.log"
        package = "k8s.io/kubernetes/cmd/kubectl"
        environment = {"CGO_ENABLED": "0"}
        run(
            [*command, "-o", folder / "kubectl", package],
            cwd=SOURCE,
            env=environment,
            log=log,
            doing="building kubectl",
        )

    return _kept("kubectl", cache.key(SOURCE, VERSION_FLAGS), build, "2 min the first time")


def helm_binary() -> Path:
    """Helm at <cache>/bin/helm, built when missing."""
    return _installed("helm", HELM, "2 min the first time on 2 cores")


def helm_alone() -> Path:
    """Helm from PATH, else built."""
    found = shutil.which("helm")
    return Path(found) if found else helm_binary()


def kind_binary() -> Path:
    """kind at <cache>/bin/kind, built when missing; its version pins the node image."""
    return _installed("kind", KIND, "1 min the first time")


def kwok_binary() -> Path:
    """kwok (fake nodes) at <cache>/bin/kwok, built when missing."""
    return _installed("kwok", KWOK, "2 min the first time on 2 cores")


def _installed(name: str, module: str, usually: str) -> Path:
    key = cache.key(module)

    def build(folder: Path) -> None:
        _go_install(folder, module)

    return _kept(name, key, build, usually)


def _kept(name: str, key: str, build: Callable[[Path], None], usually: str) -> Path:
    folder = cache.find(name, key) or _build(name, key, build, usually)
    place = cache.folder() / "bin" / name
    cache.link(place, folder / name)
    return place


def _build(name: str, key: str, build: Callable[[Path], None], usually: str) -> Path:
    require_go()
    with progress(f"building {name} from its Go modules, or waiting for who does", usually=usually):
        return cache.entry(name, key, build)


def _build_node(folder: Path) -> None:
    static = {"CGO_ENABLED": "0"}
    log = cache.folder() / "build-node.log"
    log.unlink(missing_ok=True)
    flags = ["-trimpath", "-mod=readonly", "-tags", "providerless,dockerless", "-ldflags", f"-s -w {VERSION_FLAGS}"]
    build: Command = ["go", "build", *flags, "-o", folder / "kube", "."]
    run(build, cwd=SOURCE, env=static, log=log, doing="building the node binary")
    plain: Command = ["go", "build", "-trimpath", "-ldflags", "-s -w", "-o", folder / "pause", "./pause"]
    run(plain, cwd=SOURCE, env=static, log=log, doing="building pause")
    for name in PROGRAMS:
        (folder / name).symlink_to("kube")
    _go_install(folder, LOCAL_PATH)


def _go_install(folder: Path, module: str) -> None:
    log = cache.folder() / "build-go.log"
    environment = {"GOBIN": str(folder), "CGO_ENABLED": "0"}
    run(
        ["go", "install", "-trimpath", "-ldflags", "-s -w", module],
        env=environment,
        log=log,
        doing=f"building {module}",
    )


@contextmanager
def building() -> Iterator[None]:
    """Build what is missing in a process beside the block; node_binary() and the like wait for it.

    The build ends with the block; another process that waits for it goes on from what Go has compiled by then.
    Says nothing and builds nothing when Go is unfit: whoever needs a binary gets the Failure.
    """
    if _all_built() or not _go_is_fit():
        yield
        return
    with own_command("hack.cluster", "build"):
        yield


def own_command(module: str, *arguments: str) -> AbstractContextManager[object]:
    """Run one of our commands beside the block, which it ends with; what it says is in a log in the cache folder."""
    log = cache.folder() / f"{module.rpartition('.')[2]}-{arguments[0]}.log"
    return beside([sys.executable, "-m", module, *arguments], log, cwd=SOURCE.parents[2], end=signal.SIGINT)


def _go_is_fit() -> bool:
    try:
        require_go()
    except Failure:
        return False
    return True


def build_all() -> None:
    """Build everything that is missing."""
    node_folder()
    helm_binary()
