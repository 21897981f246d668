"""How to reach the API server: the pod's ServiceAccount, else a kubeconfig. For our client and for kopf alike."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import kopf
from kubernetes.aio import config
from kubernetes.aio.client.configuration import Configuration

TOKEN_FILE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


class NoCluster(Exception):
    """Neither a ServiceAccount nor a usable kubeconfig."""


async def load(environment: Mapping[str, str]) -> Any:
    """A client configuration: ``KUBECONFIG`` when set, else the pod's own. Raises NoCluster."""
    found = Configuration()
    try:
        if kubeconfig := environment.get("KUBECONFIG", ""):
            await config.load_kube_config(config_file=kubeconfig, client_configuration=found, persist_config=False)
        elif TOKEN_FILE.exists():
            config.load_incluster_config(client_configuration=found)
        else:
            raise NoCluster("no cluster: not in a pod, and KUBECONFIG is not set")
    except (config.ConfigException, OSError) as error:
        raise NoCluster(f"no cluster: {error}") from error
    return found


async def for_kopf(found: Any) -> kopf.ConnectionInfo:
    """The same credentials as kopf wants them; it asks again when they are refused, and gets the rotated token."""
    authorization = (await found.get_api_key_with_prefix("BearerToken")) or ""
    scheme, _, token = authorization.partition(" ")
    return kopf.ConnectionInfo(
        server=found.host,
        ca_path=os.fspath(found.ssl_ca_cert) if found.ssl_ca_cert else None,
        ca_data=found.ca_cert_data,
        insecure=not found.verify_ssl,
        certificate_path=found.cert_file,
        private_key_path=found.key_file,
        scheme=scheme.capitalize() or None,
        token=token.strip() or None,
    )
