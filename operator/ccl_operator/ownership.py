"""Whose is an object that stands under a name we want? Pure.

An owner reference says it for sure; labels only where there is none. So a label that somebody removed does not make a
stranger of our own child, and labels that somebody copied do not make a child of a stranger.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from ccl_operator import names
from ccl_operator.actions import Manifest

#: ``predecessor``: what remains of a deleted CclDeployment of the same name; garbage collection takes it.
Standing = Literal["ours", "predecessor", "foreign"]


def standing(live: Manifest, owner: Manifest) -> Standing:
    """What ``live`` is to the CclDeployment ``owner``."""
    references, mine = _references(live), owner["metadata"]
    if any(each["uid"] == mine["uid"] for each in references):
        return "ours"
    if any(_is_of_our_kind(each) and each["name"] == mine["name"] for each in references):
        return "predecessor"
    return "foreign" if references or not _is_kept(live, mine["name"]) else "ours"


def is_our_apply(entry: Mapping[str, Any]) -> bool:
    """Whether an entry of managedFields is that of our server-side applies."""
    return bool(
        entry.get("manager") == names.FIELD_MANAGER
        and entry.get("operation") == "Apply"
        and not entry.get("subresource")
    )


def _references(live: Manifest) -> Sequence[Mapping[str, Any]]:
    return live["metadata"].get("ownerReferences") or ()


def _is_of_our_kind(reference: Mapping[str, Any]) -> bool:
    group = str(reference.get("apiVersion", "")).partition("/")[0]
    return reference.get("kind") == names.OWNER.kind and group in {"", names.GROUP}


def _is_kept(live: Manifest, instance: str) -> bool:
    """Whether an object without owners is ours: data and keys outlive their CclDeployment, and have none."""
    if names.is_ours(live, instance):
        return True
    metadata = live["metadata"]
    wanted, found = names.labels(instance), metadata.get("labels") or {}
    contradicted = any(found.get(label, wanted[label]) != wanted[label] for label in wanted)
    return not contradicted and any(map(is_our_apply, metadata.get("managedFields") or ()))
