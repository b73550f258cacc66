"""The keys of the configuration, what each expects in words, and how one is read from text."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

from pipeline.config.model import Config
from pipeline.config.section import Section, split_texts

KeyPath = tuple[str, ...]
"""Section and key, as ("kafka", "group") or ("readings", "fields", "time")."""

_WORDS = {True: ("true", "yes", "on", "1"), False: ("false", "no", "off", "0")}
_TEXT = "text of at least one character"
_MAX_SHOWN = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key; `schema` is its part of the JSON schema, from which its words come."""

    path: KeyPath
    schema: Mapping[str, Any]
    default: Any

    @property
    def name(self) -> str:
        return ".".join(self.path)

    @property
    def is_secret(self) -> bool:
        return any(option.get("writeOnly", False) for option in _options(self.schema))


@cache
def list_keys() -> Mapping[KeyPath, Key]:
    """All keys by their path, in the order of the sections."""
    return MappingProxyType({key.path: key for key in _walk(Config, ())})


def list_sections() -> tuple[KeyPath, ...]:
    """Paths of all sections, sub-sections included."""
    return tuple(dict.fromkeys(path[:n] for path in list_keys() for n in range(1, len(path))))


def find_section(model: type[Section], key: str) -> type[Section] | None:
    """The model of a sub-section, None where the key is a value or unknown."""
    field = model.model_fields.get(key)
    kind = field.annotation if field else None
    return kind if isinstance(kind, type) and issubclass(kind, Section) else None


def describe(key: Key) -> str:
    """What is expected, as in "a number above 0 and below 1"."""
    words = [_describe(option, key.schema) for option in _options(key.schema)]
    return " or ".join(dict.fromkeys(words))


def describe_default(key: Key) -> str:
    """The way out: what holds where the key is left out."""
    return "or leave it out" if key.default is None else f"leave it out for {write_toml(key.default)}"


def show(value: Any) -> str:
    """A wrong value in a message, cut where it is long."""
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 3] + "..."


def read_text(key: Key, text: str) -> Any:
    """A value from the text of a variable; the text itself where it can't be one, for the check to refuse."""
    for option in _options(key.schema):
        value = _read(option, text)
        if value is not None:
            return value
    return text


def write_toml(value: Any) -> str:
    """A value of the configuration as TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(write_toml, value))}]"
    return repr(value)


def _walk(model: type[Section], above: KeyPath) -> Iterator[Key]:
    schemas = model.model_json_schema()["properties"]
    for name, field in model.model_fields.items():
        if inner := find_section(model, name):
            yield from _walk(inner, (*above, name))
        else:
            default = schemas[name].get("default", field.default)
            yield Key(path=(*above, name), schema=schemas[name], default=default)


def _options(schema: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """What a value may be, without null: TOML has none."""
    return [option for option in schema.get("anyOf", [schema]) if option.get("type") != "null"]


def _describe(option: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    if values := option.get("enum") or ([option["const"]] if "const" in option else []):
        shown = [write_toml(value) for value in values]
        return shown[0] if len(shown) == 1 else f"one of {', '.join(shown)}"
    kind = option["type"]
    if kind == "array":
        kinds = {inner["type"]: inner for inner in _options(option["items"])}
        numbers = f"whole numbers{_describe_bounds(kinds['integer'])}" if "integer" in kinds else ""
        what = " and ".join(word for word in ("names" if "string" in kinds else "", numbers) if word)
        example = next((e for e in schema.get("examples", ()) if isinstance(e, list)), None)
        return f"a list of {what}{f' such as {write_toml(example)}' if example else ''}"
    if kind == "string":
        text = next((e for e in schema.get("examples", ()) if isinstance(e, str)), schema.get("default"))
        return f"text such as {write_toml(text)}" if "pattern" in option else _TEXT
    what = {"integer": "a whole number", "number": "a number", "boolean": "true or false"}[kind]
    return what + _describe_bounds(option)


def _describe_bounds(option: Mapping[str, Any]) -> str:
    if "minimum" in option and "maximum" in option:
        return f" from {option['minimum']} to {option['maximum']}"
    low = " above {}" if (least := option.get("exclusiveMinimum")) is not None else " of at least {}"
    least = option.get("minimum") if least is None else least
    high = "below {}" if (most := option.get("exclusiveMaximum")) is not None else "at most {}"
    most = option.get("maximum") if most is None else most
    parts = [words.format(bound) for words, bound in ((low, least), (high, most)) if bound is not None]
    return " and ".join(parts) if least is not None else f" of {parts[0]}" if parts else ""


def _read(option: Mapping[str, Any], text: str) -> Any:
    """None where the text is no such value."""
    if values := option.get("enum") or ([option["const"]] if "const" in option else []):
        return text if text in values else None
    match option["type"]:
        case "array":
            return _read_list(option["items"], text)
        case "boolean":
            return next((value for value, words in _WORDS.items() if text.lower() in words), None)
        case "integer":
            return _read_number(int, text)
        case "number":
            return _read_number(float, text)
    return text


def _read_number(kind: type[int] | type[float], text: str) -> float | None:
    try:
        number = kind(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _read_list(items: Mapping[str, Any], text: str) -> list[Any]:
    """Parts between commas, or a JSON array. A part that may be both is a number rather than a text."""
    if text.startswith("["):
        try:
            return list(json.loads(text))
        except ValueError:
            pass  # a glob may begin so, too
    options = sorted(_options(items), key=lambda option: option["type"] == "string")
    readings = ([_read(option, part) for option in options] + [part] for part in split_texts(text))
    return [next(value for value in found if value is not None) for found in readings]
