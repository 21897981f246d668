"""Rotation of the generated keys, without a restart: ``next`` → ``current`` → ``previous`` → gone. Pure.

The state of a rotation is the key files themselves; a process that starts anew goes on from what stands there. A new
key signs only after every pod has said that it holds it, so that nobody ever meets a key it does not know. What is
told of it is told of the files as they were found, never as they are wanted: a write may fail.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from ccl_contract.keys import Key, KeyFile, KeyState, parse_key_file
from ccl_contract.readiness import KeyIds
from ccl_operator.api.status import WAITING_MAX, SecretsStatus
from ccl_operator.api.v1alpha1 import Spec
from ccl_operator.api.values import duration
from ccl_operator.environment import KEY_FILES, generated_keys
from ccl_operator.secrets import keys_data, new_key

#: Kubelets bring a changed Secret within about a minute; the short-lived pods of Jobs, which nobody asks, get it in
#: this time.
SPREAD: Final = timedelta(minutes=2)
LOOK_AGAIN: Final = timedelta(seconds=5)
#: A rotation that waits longer for a pod is told: five times what kubelets need.
PATIENCE: Final = timedelta(minutes=10)
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
Held = Mapping[str, KeyIds | None]


@dataclass(frozen=True)
class Rotation:
    """``keys``: data of the Secret as it is to be. ``wake_at``: when something is due that no event announces.

    ``under_way``: there is a key that does not sign yet. ``overdue``: what that waits for too long, in words.
    """

    keys: Mapping[str, str]
    status: SecretsStatus
    wake_at: datetime | None
    under_way: bool = False
    overdue: str = ""


def rotate(
    present: Mapping[str, str], spec: Spec, *, known: SecretsStatus | None, held: Held, entropy: bytes, now: datetime
) -> Rotation:
    """One step of the rotation of every generated key; keys that are missing are made.

    ``present``: data of the Secret as it was found. ``held``: what each pod reports, by its name; None for one that has
    not answered lately. A key file that cannot be read is left alone; ``secrets.weak`` names it.
    """
    files = {each: file for each in generated_keys(spec) if (file := _read(present.get(KEY_FILES[each], "")))}
    coming = {variable: key for variable, file in files.items() if (key := _next(file)) is not None}
    demanded = known is not None and spec.secrets.rotate not in {"", known.rotate}
    # Only then the demand is met whatever happens; until it is recorded no key moves on, lest it be met twice.
    begun = coming.keys() == files.keys()
    lacking = {variable: _lacking(variable, key, held) for variable, key in coming.items()}
    moved = {
        variable: _step(
            variable,
            file,
            now,
            due=demanded or _due(file, spec, now),
            everywhere=not demanded and not lacking.get(variable),
            entropy=_entropy(entropy, variable),
        )
        for variable, file in files.items()
    }
    since = [file.current.since for file in files.values() if file.current.since is not None]
    next_rotation = _next_rotation(since, spec)
    waiting = tuple(sorted(set().union(*lacking.values()))) if now - _begun_at(coming, now) >= SPREAD else ()
    status = SecretsStatus(
        rotated_at=max(since, default=None),
        next_rotation=next_rotation,
        rotate=known.rotate if known is not None and demanded and not begun else spec.secrets.rotate,
        waiting_for=waiting[:WAITING_MAX],
    )
    changed = {KEY_FILES[name]: file.model_dump_json() for name, file in moved.items() if file != files[name]}
    return Rotation(
        keys={**keys_data(present, spec, entropy=entropy, now=now), **changed},
        status=status,
        wake_at=now + LOOK_AGAIN if coming else _wake_at(moved, now, next_rotation=next_rotation),
        under_way=bool(coming),
        overdue=_overdue(waiting, _begun_at(coming, now), now),
    )


def _begun_at(coming: Mapping[str, Key], now: datetime) -> datetime:
    return min((key.since for key in coming.values() if key.since is not None), default=now)


def _overdue(waiting: Sequence[str], since: datetime, now: datetime) -> str:
    if not waiting or now - since < PATIENCE:
        return ""
    more = f" and {len(waiting) - WAITING_MAX} more" if len(waiting) > WAITING_MAX else ""
    named = f"{', '.join(waiting[:WAITING_MAX])}{more}"
    return (
        f"keys made at {since:%Y-%m-%dT%H:%M:%SZ} cannot sign: no word from {named} that they are held there;"
        " repair or delete these pods"
    )


def _lacking(variable: str, coming: Key, held: Held) -> list[str]:
    """Names of the pods that have not said that they hold this key."""
    return [pod for pod, ids in held.items() if ids is None or coming.id not in getattr(ids, REPORTED[variable])]


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


def _step(variable: str, file: KeyFile, now: datetime, *, due: bool, everywhere: bool, entropy: bytes) -> KeyFile:
    coming = _next(file)
    if coming is None and due:
        return KeyFile(keys=(*file.keys, new_key(entropy, KeyState.NEXT, now)))
    if coming is not None and coming.since is None:
        return _dated(file, coming, now)
    if coming is not None and coming.since is not None and everywhere and now - coming.since >= SPREAD:
        return _promoted(file, coming, now)
    stays = tuple(key for key in file.keys if not _expired(key, KEPT[variable], now))
    return KeyFile(keys=stays) if stays != file.keys else file


def _dated(file: KeyFile, coming: Key, now: datetime) -> KeyFile:
    """Somebody put the key there by hand, without a time: its time begins when it is seen."""
    dated = coming.model_copy(update={"since": now})
    return KeyFile(keys=tuple(dated if key.id == coming.id else key for key in file.keys))


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


def _wake_at(files: Mapping[str, KeyFile], now: datetime, *, next_rotation: datetime | None) -> datetime | None:
    ends = [
        key.since + kept
        for variable, file in files.items()
        for key in file.keys
        if key.state is KeyState.PREVIOUS and key.since is not None and (kept := KEPT[variable]) is not None
    ]
    # What is due already was done in this step, or waits for what hinders its write to go.
    return min((each for each in (*ends, next_rotation) if each is not None and each > now), default=None)
