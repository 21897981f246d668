"""CclDeployments as a cluster holds them, through the kubeconfig of whoever calls."""

from collections.abc import Iterator
from typing import Any, Final

from kubernetes import client, config
from urllib3.exceptions import HTTPError

from ccl_operator import names
from ccl_operator.cli.documents import Document, Unreadable

SOURCE: Final = "the cluster"
PAGE: Final = 500
#: To connect, and between two packets; in seconds.
PATIENCE: Final = (5.0, 30.0)


def stored(namespace: str | None, *, everywhere: bool) -> Iterator[Document]:
    """Objects of a namespace (None: the kubeconfig's), or of all. Raises Unreadable."""
    try:
        _, active = config.list_kube_config_contexts()
        chosen = namespace or active["context"].get("namespace") or "default"
        with config.new_client_from_config() as api:
            for item in _items(client.CustomObjectsApi(api), None if everywhere else chosen):
                metadata = item["metadata"]
                yield Document(f"{metadata['namespace']}/{metadata['name']}", item)
    except config.ConfigException as error:
        raise Unreadable(SOURCE, f"no usable kubeconfig: {error}") from None
    except client.ApiException as error:
        kind = f"{names.OWNER.plural}.{names.OWNER.group}"
        raise Unreadable(SOURCE, f"listing {kind} was answered with {error.status} {error.reason}") from None
    except (HTTPError, OSError) as error:
        raise Unreadable(SOURCE, f"it cannot be reached: {type(error).__name__}") from None


def _items(api: Any, namespace: str | None) -> Iterator[dict[str, Any]]:
    kind, token = (names.OWNER.group, names.OWNER.version), ""
    while True:
        page = {"limit": PAGE, "_continue": token, "_request_timeout": PATIENCE}
        if namespace is None:
            found = api.list_cluster_custom_object(*kind, names.OWNER.plural, **page)
        else:
            found = api.list_namespaced_custom_object(*kind, namespace, names.OWNER.plural, **page)
        yield from found["items"]
        token = found["metadata"].get("continue") or ""
        if not token:
            return
