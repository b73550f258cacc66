"""From a TOML file and the environment to a checked configuration, or one sentence on what is wrong."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from pipeline.config.environment import Setting, read_environment
from pipeline.config.errors import ConfigError, suggest
from pipeline.config.keys import KeyPath, describe, describe_default, find_section, list_keys, show
from pipeline.config.model import Config
from pipeline.config.section import Section

# Follows from an error elsewhere in the same section.
_CONSEQUENCE = "default_factory_not_called"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """A configuration, and for each key that was set the file or variable that it came from."""

    config: Config
    origins: Mapping[KeyPath, str]


def load_config(path: str | os.PathLike[str] | None, environ: Mapping[str, str] | None = None) -> Config:
    """Read a TOML file (None: none) and the environment, which wins.

    Raises ConfigError if the file can't be read, or for an unknown key or a wrong value.
    """
    return resolve_config(path, environ).config


def resolve_config(path: str | os.PathLike[str] | None, environ: Mapping[str, str] | None = None) -> Resolved:
    """As `load_config`, with the origin of each setting."""
    name = None if path is None else os.fspath(path)
    given = {} if name is None else dict(_walk(name, Config, (), _read_toml(name)))
    settings = {**given, **read_environment(environ)}
    data: dict[str, Any] = {}
    for key, setting in settings.items():
        section = data
        for part in key[:-1]:
            section = section.setdefault(part, {})
        section[key[-1]] = _freeze(setting.value)
    try:
        config = Config.model_validate(data)
    except ValidationError as error:
        # Not chained: the error of the library would show values.
        raise _explain(error, settings) from None
    return Resolved(config=config, origins={key: setting.origin for key, setting in settings.items()})


def _read_toml(name: str) -> dict[str, Any]:
    try:
        with open(name, "rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"{name}: expected a readable TOML file ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{name}: expected TOML ({error})") from error


def _walk(
    name: str, model: type[Section], above: KeyPath, data: Mapping[str, Any]
) -> Iterator[tuple[KeyPath, Setting]]:
    """The settings of a section and of those within it. Raises ConfigError for unknown names."""
    for key, value in data.items():
        path = (*above, key)
        place = f"{name}: {'.'.join(path)}"
        if key not in model.model_fields:
            what = f"key {'.'.join(path)}" if above else f"section {key!r}"
            raise ConfigError(f"{name}: unknown {what}; {suggest(key, model.model_fields)}")
        inner = find_section(model, key)
        if inner is None:
            yield path, Setting(value=value, place=place, origin=name)
        elif isinstance(value, dict):
            yield from _walk(name, inner, path, value)
        else:
            raise ConfigError(f"{place}: expected a section [{'.'.join(path)}], found {show(value)}")


def _freeze(value: Any) -> Any:
    """Lists as tuples, which is what the models hold."""
    return tuple(map(_freeze, value)) if isinstance(value, list) else value


def _explain(error: ValidationError, settings: Mapping[KeyPath, Setting]) -> ConfigError:
    """The first error as a sentence."""
    first = next(part for part in error.errors() if part["type"] != _CONSEQUENCE)
    keys, where = list_keys(), tuple(map(str, first["loc"]))
    path = next((where[:n] for n in (2, 3) if where[:n] in keys), None)
    reason = str(first["ctx"]["error"]) if first["type"] == "value_error" else ""
    if path is None:
        return ConfigError(f"{_find_place(where, reason, settings)}: {reason}")
    setting, key = settings[path], keys[path]
    found = "something else (a secret, so not shown)" if key.is_secret else show(setting.value)
    return ConfigError(
        f"{setting.place}: expected {reason or describe(key)}, found {found}; {describe_default(key)}"
    )


def _find_place(section: KeyPath, reason: str, settings: Mapping[KeyPath, Setting]) -> str:
    """The place of the setting that the sentence names first, of those that are set."""
    found = [
        (reason.find(name), setting.place)
        for path, setting in settings.items()
        if path[: len(section)] == section and (name := ".".join(path[len(section) :])) in reason
    ]
    return min(found)[1]
