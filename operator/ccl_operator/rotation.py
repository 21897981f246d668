"""Rotation of the generated keys, without a restart: ``next`` → ``current`` → ``previous`` → gone. Pure.

The state of a rotation is the key files themselves; a process that starts anew goes on from what stands there. A new
key signs only after every pod has said that it holds it, so that nobody ever meets a key it does not know.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from ccl_contract.keys import Key, KeyFile, KeyState, parse_key_file
from ccl_contract.readiness import KeyIds
from ccl_operator.api.status import SecretsStatus
from ccl_operator.api.v1alpha1 import Spec
from ccl_operator.api.values import duration
from ccl_operator.environment import KEY_FILES, generated_keys
from ccl_operator.secrets import new_key

#: Kubelets bring a changed Secret within about a minute; jobs pods, which nobody asks, get it in this time.
SPREAD: Final = timedelta(minutes=2)
LOOK_AGAIN: Final = timedelta(seconds=5)
#: How long a key stays good after its successor took over; None: for ever, because unsubscribe links and the audit
#: trail it has signed have no end.
KEPT: Final[Mapping[str, timedelta | None]] = {
    "INTERNAL_API_KEY": timedelta(days=1),
    "JWT_SECRET": None,
    "SESSION_SECRET": timedelta(days=2),
}
#: The field of a pod's report that lists the ids of a variable's keys.
REPORTED: Final[Mapping[str, str]] = {
    "INTERNAL_API_KEY": "internal_api",
    "JWT_SECRET": "jwt",
    "SESSION_SECRET": "session",
}


@dataclass(frozen=True)
class Rotation:
    """``keys``: data of the Secret as it is to be. ``wake_at``: when something is due that no event announces."""

    keys: Mapping[str, str]
    status: SecretsStatus
    wake_at: datetime | None


def rotate(
    keys: Mapping[str, str],
    spec: Spec,
    *,
    known: SecretsStatus | None,
    held: Sequence[KeyIds | None],
    entropy: bytes,
    now: datetime,
) -> Rotation:
    """One step of the rotation of every generated key.

    ``held``: what each running pod reports, None for one that has not answered lately. A key file that cannot be read
    is left alone; ``secrets.weak`` names it.
    """
    variables = generated_keys(spec)
    files = {variable: file for variable in variables if (file := _read(keys.get(KEY_FILES[variable], "")))}
    demanded = known is not None and spec.secrets.rotate not in {"", known.rotate}
    moved = {
        variable: _step(
            variable, file, held, now, due=demanded or _due(file, spec, now), entropy=_entropy(entropy, variable)
        )
        for variable, file in files.items()
    }
    since = [file.current.since for file in moved.values() if file.current.since is not None]
    status = SecretsStatus(
        rotated_at=max(since, default=None), next_rotation=_next_rotation(since, spec), rotate=spec.secrets.rotate
    )
    changed = {KEY_FILES[name]: file.model_dump_json() for name, file in moved.items() if file != files[name]}
    return Rotation({**keys, **changed}, status, _wake_at(moved, status, now))


def _read(text: str) -> KeyFile | None:
    try:
        return parse_key_file(text)
    except ValueError:
        return None


def _entropy(entropy: bytes, variable: str) -> bytes:
    start = 48 + 36 * list(KEY_FILES).index(variable)
    return entropy[start : start + 36]


def _due(file: KeyFile, spec: Spec, now: datetime) -> bool:
    if spec.secrets.rotate_after is None or file.current.since is None:
        return False
    return now - file.current.since >= duration(spec.secrets.rotate_after)


def _next(file: KeyFile) -> Key | None:
    return next((key for key in file.keys if key.state is KeyState.NEXT), None)


def _step(
    variable: str, file: KeyFile, held: Sequence[KeyIds | None], now: datetime, *, due: bool, entropy: bytes
) -> KeyFile:
    coming = _next(file)
    if coming is None and due:
        return KeyFile(keys=(*file.keys, new_key(entropy, KeyState.NEXT, now)))
    if coming is not None and _everywhere(variable, coming, held, now):
        return _promoted(file, coming, now)
    stays = tuple(key for key in file.keys if not _expired(key, KEPT[variable], now))
    return KeyFile(keys=stays) if stays != file.keys else file


def _everywhere(variable: str, coming: Key, held: Sequence[KeyIds | None], now: datetime) -> bool:
    if coming.since is None or now - coming.since < SPREAD:
        return False
    return all(ids is not None and coming.id in getattr(ids, REPORTED[variable]) for ids in held)


def _promoted(file: KeyFile, coming: Key, now: datetime) -> KeyFile:
    moves = {KeyState.NEXT: KeyState.CURRENT, KeyState.CURRENT: KeyState.PREVIOUS}
    keys = [
        key.model_copy(update={"state": moves[key.state], "since": now}) if key.state in moves else key
        for key in file.keys
        if key.state is not KeyState.NEXT or key.id == coming.id
    ]
    return KeyFile(keys=tuple(keys))


def _expired(key: Key, kept: timedelta | None, now: datetime) -> bool:
    if key.state is not KeyState.PREVIOUS or kept is None:
        return False
    return key.since is not None and now - key.since >= kept


def _next_rotation(since: Sequence[datetime], spec: Spec) -> datetime | None:
    if spec.secrets.rotate_after is None or not since:
        return None
    return min(since) + duration(spec.secrets.rotate_after)


def _wake_at(files: Mapping[str, KeyFile], status: SecretsStatus, now: datetime) -> datetime | None:
    if any(_next(file) is not None for file in files.values()):
        return now + LOOK_AGAIN
    ends = [
        key.since + kept
        for variable, file in files.items()
        for key in file.keys
        if key.state is KeyState.PREVIOUS and key.since is not None and (kept := KEPT[variable]) is not None
    ]
    due = [*ends, *([status.next_rotation] if status.next_rotation else [])]
    return max(min(due), now) if due else None
