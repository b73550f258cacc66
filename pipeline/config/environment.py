"""Settings from environment variables. No other file reads the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config.errors import ConfigError, suggest
from pipeline.config.keys import KeyPath, list_keys, list_sections, read_text

PREFIX = "GATECAST_"
_SEPARATOR = "__"
_FILE = "_file"
_MAX_SECRET_BYTES = 64 << 10  # a password, no disk image


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A value as it was given, not yet checked."""

    value: Any
    place: str  # how a message names it: `plant.toml: kafka.group`, or the variable
    origin: str  # the file, or the variable


def name_variable(path: KeyPath) -> str:
    """The variable that sets a key."""
    return PREFIX + _SEPARATOR.join(path).upper()


def read_environment(environ: Mapping[str, str] | None = None) -> dict[KeyPath, Setting]:
    """Settings from `GATECAST_<SECTION>__<KEY>`, and secrets from the files that `…_FILE` names.

    An empty variable counts as not set. Variables that begin with GATECAST_ and have no double underscore are
    somebody else's (Kubernetes makes some for a service of that name), unless they are a key but for that.
    Raises ConfigError for an unknown section or key, and for a secret that can't be read or is set twice.
    """
    settings: dict[KeyPath, Setting] = {}
    given = os.environ if environ is None else environ
    for name, text in sorted(given.items()):
        if not name.startswith(PREFIX) or not text:
            continue
        if _SEPARATOR not in name:
            _refuse_single_underscore(name, text)
            continue
        path, is_file = _find_key(name)
        if path in settings:
            raise ConfigError(
                f"{name}: expected {'.'.join(path)} to be set once, but {settings[path].origin} sets it too; "
                "unset one of them"
            )
        value = _read_secret(name, text) if is_file else read_text(list_keys()[path], text.strip())
        settings[path] = Setting(value=value, place=name, origin=name)
    return settings


def extend_environment(settings: Mapping[KeyPath, str]) -> dict[str, str]:
    """The environment for a process of ours, with other values for some keys."""
    return {**os.environ, **{name_variable(path): value for path, value in settings.items()}}


def _find_key(name: str) -> tuple[KeyPath, bool]:
    """The key that a variable sets, and whether it names a file that holds the value."""
    keys, path = list_keys(), tuple(name[len(PREFIX) :].lower().split(_SEPARATOR))
    if path in keys:
        return path, False
    in_file = (*path[:-1], path[-1].removesuffix(_FILE))
    if path[-1].endswith(_FILE) and in_file in keys and keys[in_file].is_secret:
        return in_file, True
    if path[:1] not in list_sections():
        known = [section[0] for section in list_sections() if len(section) == 1]
        raise ConfigError(f"{name}: unknown section {path[0]!r}; {suggest(path[0], known)}")
    if path in list_sections():
        inner = next(key for key in keys if key[: len(path)] == path)
        raise ConfigError(
            f"{name}: expected a key of section {'.'.join(path)} behind it, as in {name_variable(inner)}"
        )
    known = [name_variable(key) for key in keys if key[0] == path[0]]
    raise ConfigError(f"{name}: unknown key {'.'.join(path)}; {suggest(name, known)}")


def _refuse_single_underscore(name: str, text: str) -> None:
    for path in list_keys():
        # GATECAST_SERVER_PORT=tcp://10.0.0.7:8000 is Kubernetes' own.
        if name == PREFIX + "_".join(path).upper() and "://" not in text:
            raise ConfigError(
                f"{name}: expected two underscores between section and key; rename it {name_variable(path)}"
            )


def _read_secret(name: str, path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            data = file.read(_MAX_SECRET_BYTES + 1)
        text = data.decode().rstrip("\r\n")
    except OSError as error:
        raise ConfigError(
            f"{name}: expected a readable file with the secret, found {path!r} ({error.strerror})"
        ) from error
    except UnicodeDecodeError:
        raise ConfigError(f"{name}: expected UTF-8 text in {path!r}; save the secret as such") from None
    if not text or len(data) > _MAX_SECRET_BYTES:
        found = "longer than 64 KiB" if text else "empty"
        raise ConfigError(f"{name}: expected the secret in {path!r}, but the file is {found}")
    return text
