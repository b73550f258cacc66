"""The `config` commands."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

import click
from pydantic import SecretStr

from pipeline.config import Config, ConfigError, Resolved, resolve_config
from pipeline.config.keys import KeyPath, list_keys, write_toml
from pipeline.series_file import SeriesFile, read_series_file

MASK = "***"
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
# Up to the last @: keys of object stores contain slashes. Signed URLs carry their token behind a ?.
_SECRET_IN_URL = re.compile(r"(?<=://)\S+(?=@)|(?<=\?)\S+")

config_option = click.option(
    "--config", "path", type=click.Path(), metavar="FILE", help="TOML file; the environment wins over it."
)


@click.group("config", context_settings={"help_option_names": ["-h", "--help"]})
def config() -> None:
    """Show, check and describe the configuration.

    \b
    Example: gatecast config check --config gatecast.toml
    """


@config.command("show")
@config_option
def show(path: str | None) -> None:
    """Print every setting as TOML, and where those come from that are not left out. Secrets are masked.

    \b
    Example: GATECAST_LOG__LEVEL=debug gatecast config show --config gatecast.toml
    """
    for line in list_settings(resolve_config(path)):
        click.echo(line)


@config.command("check")
@config_option
@click.option(
    "--data",
    "data",
    multiple=True,
    type=click.Path(),
    metavar="FILE",
    help="List the series in FILE (as backtest reads it) that no row of the series file fits; repeatable.",
)
def check(path: str | None, data: tuple[str, ...]) -> None:
    """Check the configuration, the files it names and the series file; print the memory that a series takes.

    \b
    Example: gatecast config check --config gatecast.toml --data plant.csv
    """
    resolved = resolve_config(path)
    check_files(resolved)
    settings = resolved.config
    click.echo(f"{path or 'environment'}: {len(resolved.origins)} settings, all valid")
    series_path = settings.readings.series_file
    if series_path is not None:
        series = read_series_file(series_path)
        click.echo(f"{series_path}: {len(series.rows)} rows, all valid")
        if data:
            _print_unmatched(series, data)
    elif data:
        raise ConfigError(
            "--data lists series that no row of the series file fits, but readings.series_file is not set; "
            "set it or leave --data out"
        )
    _print_state(settings, measure_state(settings, path))


@config.command("schema")
def schema() -> None:
    """Print the JSON schema of the configuration, for editors and for other programs.

    \b
    Example: gatecast config schema > gatecast.schema.json
    """
    click.echo(json.dumps({"$schema": _DIALECT, **Config.model_json_schema()}, indent=1))


def list_settings(resolved: Resolved) -> Iterator[str]:
    """Lines of TOML: all sections and keys, behind each that was set the file or variable it came from."""
    sections: dict[KeyPath, list[KeyPath]] = {}
    for path in list_keys():
        sections.setdefault(path[:-1], []).append(path)
    for number, (section, paths) in enumerate(sections.items()):
        if number:
            yield ""
        yield f"[{'.'.join(section)}]"
        for path in paths:
            value = find_value(resolved.config, path)
            text = f"# {path[-1]} is not set" if value is None else f"{path[-1]} = {write_toml(_mask(value))}"
            origin = resolved.origins.get(path)
            yield text if origin is None else f"{text}  # from {origin}"


def find_value(settings: Config, path: KeyPath) -> Any:
    """The value of a key."""
    value: Any = settings
    for part in path:
        value = getattr(value, part)
    return value


def check_files(resolved: Resolved) -> None:
    """Raises ConfigError for a file named in the configuration that can't be read."""
    for path in list_keys():
        name = find_value(resolved.config, path)
        if not path[-1].endswith("_file") or name is None:
            continue
        try:
            with open(name, "rb") as file:
                file.read(1)
        except OSError as error:
            raise ConfigError(
                f"{resolved.origins[path]}: {'.'.join(path)}: expected a readable file, found {name!r} "
                f"({error.strerror}); correct the path or leave it out"
            ) from error


def measure_state(settings: Config, path: str | None) -> dict[str, int]:
    """Bytes of state per series by part. Raises ConfigError for forecasters that can't be built."""
    from forecasters import build  # torch takes seconds to load

    models, learning = settings.forecasters, settings.learning
    try:
        bank = build(
            models.names,
            horizon=models.horizon,
            device="cpu",
            coverage=models.coverage,
            chunk=learning.chunk,
            replay=learning.replay,
            rate=learning.rate,
            hidden=models.hidden,
            layers=models.layers,
        )
    except ValueError as error:
        raise ConfigError(f"{path or 'environment'}: {error}") from error
    return bank.bytes_per_series()


def _print_unmatched(series: SeriesFile, data: Sequence[str]) -> None:
    from pipeline.sources.tables import read_table  # as does pandas

    ids = list(dict.fromkeys(name for path in data for name in read_table(path).series))
    unmatched = series.unmatched(ids)
    click.echo(f"{len(unmatched)} of {len(ids)} series in the data fit no row{':' if unmatched else ''}")
    for name in unmatched:
        click.echo(f"  {name}")


def _print_state(settings: Config, parts: dict[str, int]) -> None:
    total, series = sum(parts.values()), settings.readings.max_series
    width = max(len(name) for name in parts)
    click.echo("bytes of state per series:")
    for name, size in parts.items():
        click.echo(f"  {name:<{width}}  {size:>9,}")
    click.echo(f"  {'all':<{width}}  {total:>9,}")
    click.echo(f"at readings.max_series = {series:,}: {total * series / 2**30:.2f} GiB in each partition")


def _mask(value: Any) -> Any:
    """Nothing of a secret, not even its length; user, password and query of a URL are secrets, too."""
    if isinstance(value, SecretStr):
        return MASK
    return _SECRET_IN_URL.sub(MASK, value) if isinstance(value, str) and "://" in value else value
