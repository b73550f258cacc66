"""The configuration file: sections and keys that a backtest uses. Unknown ones are errors."""

import difflib
import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any


class ConfigError(Exception):
    """A setting can't be used: one sentence with what was expected, what came, where, and the way out."""


def _setting(kind: type, *, least: float | None = None, below: float | None = None) -> Any:
    """A key that may be left out. ``least`` is allowed, ``below`` is not; a fraction is above zero."""
    return field(default=None, metadata={"kind": kind, "least": least, "below": below})


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecasterConfig:
    """Section ``forecasters``."""

    names: tuple[str, ...] | None = _setting(tuple)
    horizon: int | None = _setting(int, least=1)  # steps
    hidden: int | None = _setting(int, least=1)  # units per layer of the recurrent ones
    layers: int | None = _setting(int, least=1)
    coverage: float | None = _setting(float, least=0, below=1)  # of the intervals


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningConfig:
    """Section ``learning``."""

    chunk: int | None = _setting(int, least=1)  # steps of truncated BPTT
    replay: int | None = _setting(int, least=0)  # chunks replayed with each step
    rate: float | None = _setting(float, least=0)  # of Adam, online


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingConfig:
    """Section ``readings``."""

    cadence_ms: int | None = _setting(int, least=1)  # inferred from the first readings where left out
    season_ms: int | None = _setting(int, least=1)
    max_gap: int | None = _setting(int, least=0)  # steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The whole file; what is None was left out."""

    forecasters: ForecasterConfig = ForecasterConfig()
    learning: LearningConfig = LearningConfig()
    readings: ReadingConfig = ReadingConfig()


def load_config(path: str | os.PathLike[str]) -> Config:
    """Read a TOML file. Raises ConfigError if it can't be read, or for an unknown key or a wrong value."""
    name = os.fspath(path)
    try:
        with open(name, "rb") as file:
            data = tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"{name}: expected a readable TOML file ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{name}: expected TOML ({error})") from error
    sections = {part.name: part.default_factory for part in fields(Config)}
    kinds = {"forecasters": ForecasterConfig, "learning": LearningConfig, "readings": ReadingConfig}
    for key, value in data.items():
        if key not in sections:
            raise ConfigError(f"{name}: unknown section {key!r}; {suggest(key, sections)}")
        if not isinstance(value, dict):
            raise ConfigError(f"{name}: {key}: expected a section [{key}], found {value!r}")
    return Config(**{key: _read_section(name, key, kinds[key], part) for key, part in data.items()})


def suggest(wrong: str, known: Iterable[str]) -> str:
    """The words that follow an unknown name: the nearest known one, else all of them."""
    names = sorted(known)
    if near := difflib.get_close_matches(wrong, names, n=1):
        return f"did you mean {near[0]!r}?"
    return f"known are {', '.join(names)}"


def _read_section(path: str, section: str, kind: type, data: Mapping[str, Any]) -> Any:
    known = {part.name: part for part in fields(kind)}
    settings = {}
    for key, value in data.items():
        if key not in known:
            raise ConfigError(f"{path}: unknown key {section}.{key}; {suggest(key, known)}")
        settings[key] = _read_value(f"{path}: {section}.{key}", value, known[key].metadata)
    return kind(**settings)


def _read_value(place: str, value: Any, wanted: Mapping[str, Any]) -> Any:
    kind, least, below = wanted["kind"], wanted["least"], wanted["below"]
    if kind is tuple:
        if isinstance(value, list) and value and all(isinstance(name, str) for name in value):
            return tuple(value)
        raise ConfigError(f'{place}: expected a list of names such as ["rnn", "lstm"], found {value!r}')
    allowed = (int, float) if kind is float else (int,)
    if isinstance(value, bool) or not isinstance(value, allowed):
        raise ConfigError(
            f"{place}: expected {'a number' if kind is float else 'a whole number'}, found {value!r}"
        )
    too_small = value <= least if kind is float else value < least
    if not value < float("inf") or too_small or (below is not None and value >= below):
        low = f"{'above' if kind is float else 'at least'} {least}"
        raise ConfigError(f"{place}: expected {low}{f' and below {below}' if below else ''}, found {value!r}")
    return kind(value)
