"""What commands that talk to a broker share: how a client is set up by options, and how it fails."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

DEFAULT_BOOTSTRAP = "localhost:9092"
DEFAULT_TOPIC = "gatecast.readings"


class BrokerError(Exception):
    """A broker can't be reached, or refuses: one sentence with what was expected, what came, the way out."""


class SettingError(Exception):
    """A client setting can't be used."""


def parse_client_settings(pairs: Sequence[str]) -> dict[str, Any]:
    """``KEY=VALUE`` pairs as keyword arguments of kafka-python's clients. Raises SettingError.

    ``true``, ``false`` and numbers become what they are, ``api_version=2.3`` a tuple, and ``@FILE`` the first
    line of that file, so that secrets need not stand on a command line.
    """
    settings: dict[str, Any] = {}
    for pair in pairs:
        key, separator, text = pair.partition("=")
        if not separator or not key.isidentifier():
            raise SettingError(
                f"--client: expected KEY=VALUE, such as security_protocol=SSL, but got {_hide(pair)!r}"
            )
        if text.startswith("@"):
            settings[key] = _read_secret(key, text[1:])
        elif key == "api_version":
            settings[key] = tuple(_read_version(text))
        else:
            settings[key] = _read_value(text)
    return settings


def _hide(pair: str) -> str:
    return pair if len(pair) <= 20 else pair[:17] + "..."


def _read_version(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(".")]
    except ValueError:
        raise SettingError(f"--client: expected api_version such as 2.3, but got {text!r}") from None


def _read_secret(key: str, name: str) -> str:
    try:
        lines = Path(name).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"--client: {key}: expected a readable text file {name!r} ({error})") from None
    if not lines or not lines[0]:
        raise SettingError(f"--client: {key}: expected a value in line 1 of {name!r}, but it is empty")
    return lines[0]


def _read_value(text: str) -> Any:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
