"""How to bring an object back that server-side apply alone cannot: a JSON patch. Pure.

A forced apply keeps what others wrote beside our fields. Where two writings exclude each other (a port of the same name
under another number, a variable with a value and a source, a probe with two handlers) the sum of both is invalid, and
every apply is refused. Then what lies in the way has to go, and no more. Source: kubernetes.io, "Server-Side Apply",
merge strategy; RFC 6902.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from ccl_operator import names
from ccl_operator.actions import Manifest
from ccl_operator.runtime.drift import plain

Operation = dict[str, Any]

#: Set by the API server or by controllers; never part of a repair.
_LEFT_ALONE: Final = frozenset({"apiVersion", "kind", "metadata", "status"})
#: Labels that say what an object is to us; others may tell of the moment it was made.
_FOUND_BY: Final = (
    names.NAME_LABEL,
    names.INSTANCE_LABEL,
    names.COMPONENT_LABEL,
    names.MANAGED_BY_LABEL,
    names.REVISION_LABEL,
)


def repair(wanted: Manifest, live: Manifest) -> list[Operation]:
    """What to change in ``live`` so that an apply of ``wanted`` fits; empty when nothing is in its way.

    The first operation makes the whole a conflict (409) when ``live`` is not the latest.
    """
    parts = {name: value for name, value in plain(wanted).items() if name not in _LEFT_ALONE}
    found = list(_maps("", parts, live))
    return [_same_version(live), *found] if found else []


def relabel(wanted: Manifest, live: Manifest) -> list[Operation]:
    """Set those of the labels by which we find an object that it lacks; empty when it has them all.

    For what is not applied again: its content was drawn at random, or cannot change.
    """
    labels, found = wanted["metadata"]["labels"], live["metadata"].get("labels")
    lacking = {key: labels[key] for key in _FOUND_BY if key in labels and (found or {}).get(key) != labels[key]}
    if not lacking:
        return []
    if found is None:
        return [_same_version(live), {"op": "add", "path": "/metadata/labels", "value": lacking}]
    added = [
        {"op": "add", "path": f"/metadata/labels/{_escaped(key)}", "value": value} for key, value in lacking.items()
    ]
    return [_same_version(live), *added]


def disown(live: Manifest) -> list[Operation]:
    """Drop the ownership that a repair left beside the apply's: a field under two owners would outlive our wish for it.
    Empty when there is none."""
    entries = live["metadata"].get("managedFields") or []
    kept = [entry for entry in entries if not _is_of_a_repair(entry)]
    if len(kept) == len(entries):
        return []
    return [_same_version(live), {"op": "replace", "path": "/metadata/managedFields", "value": kept}]


def _is_of_a_repair(entry: Mapping[str, Any]) -> bool:
    mine = entry.get("manager") == names.FIELD_MANAGER and not entry.get("subresource")
    return bool(mine and entry.get("operation") == "Update")


def _same_version(live: Manifest) -> Operation:
    version = live["metadata"]["resourceVersion"]
    return {"op": "replace", "path": "/metadata/resourceVersion", "value": version}


def _maps(path: str, wanted: Mapping[str, Any], live: Mapping[str, Any]) -> Iterator[Operation]:
    if path.count("/") > 1 and not _holds_lists(wanted) and not _contains(live, wanted):
        # Whole: what stands beside our fields here may be the other half of a choice.
        yield {"op": "replace", "path": path, "value": wanted}
        return
    for name, value in wanted.items():
        below = f"{path}/{_escaped(name)}"
        if name not in live:
            continue  # the apply brings it
        if isinstance(value, Mapping) and isinstance(live[name], Mapping):
            yield from _maps(below, value, live[name])
        elif isinstance(value, list) and isinstance(live[name], list):
            yield from _lists(below, value, live[name])


def _lists(path: str, wanted: Sequence[Any], live: Sequence[Any]) -> Iterator[Operation]:
    places = [_place(item, live) for item in wanted]
    if None in places:
        yield {"op": "replace", "path": path, "value": list(wanted)}
        return
    for item, place in zip(wanted, places, strict=True):
        if isinstance(item, Mapping) and place is not None:
            yield from _maps(f"{path}/{place}", item, live[place])


def _place(item: Any, live: Sequence[Any]) -> int | None:
    """Where the counterpart is: the item of the same name, else an item that holds all of ours."""
    if isinstance(item, Mapping) and "name" in item:
        named = (position for position, each in enumerate(live) if each.get("name") == item["name"])
        return next(named, None)
    return next((position for position, each in enumerate(live) if _contains(each, item)), None)


def _contains(live: Any, wanted: Any) -> bool:
    if isinstance(wanted, Mapping) and isinstance(live, Mapping):
        return all(name in live and _contains(live[name], value) for name, value in wanted.items())
    if isinstance(wanted, list) and isinstance(live, list):
        return all(_place(item, live) is not None for item in wanted)
    return bool(wanted == live)


def _holds_lists(value: Mapping[str, Any]) -> bool:
    return any(isinstance(each, list) or (isinstance(each, Mapping) and _holds_lists(each)) for each in value.values())


def _escaped(name: str) -> str:
    """A name as part of a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")
