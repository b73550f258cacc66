"""`gatecast dashboards`: rules, rule tests and dashboards, written from one file of thresholds."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from dashboards.grafana import Grafana

FOLDER = click.Path(file_okay=False, path_type=Path)


@click.group()
def dashboards() -> None:
    """Alert rules and dashboards, from one file of thresholds."""


def _options(command: click.decorators.FC) -> click.decorators.FC:
    thresholds = click.option(
        "--thresholds", type=click.Path(), help="TOML file. [default: that of the package]"
    )
    folder = click.option(
        "--folder", type=FOLDER, help="Where rules/ and the other folders are. [default: the package's own]"
    )
    return thresholds(folder(command))


@dashboards.command(short_help="Write rules, rule tests and dashboards.")
@_options
def build(thresholds: str | None, folder: Path | None) -> None:
    """Write rules, their tests and dashboards from the thresholds; what is no longer built is taken away.

    \b
    Example:
      gatecast dashboards build --thresholds plant.toml --folder deploy/plant
    """
    from dashboards.build import FOLDER as OWN  # with the thresholds' models: --help need not wait
    from dashboards.build import write_files
    from dashboards.thresholds import FILE, read_thresholds

    target = folder or OWN
    changed = write_files(read_thresholds(thresholds or FILE), target)
    for path in changed:
        click.echo(f"{target / path}")
    if not changed:
        click.echo(f"{target}: nothing has changed")


def _grafana_options(*, is_url_needed: bool) -> Callable[[click.decorators.FC], click.decorators.FC]:
    """Where a Grafana is and how to log in. Secrets come from files or variables: others see arguments."""
    options = (
        click.option("--url", required=is_url_needed, help="Address of Grafana, with the path it is below."),
        click.option(
            "--token-file",
            type=click.Path(dir_okay=False, path_type=Path),
            help="File with the token of a service account. [else: variable GRAFANA_TOKEN]",
        ),
        click.option("--token", envvar="GRAFANA_TOKEN", hidden=True),
        click.option("--user", envvar="GRAFANA_USER", help="User name, in place of a token."),
        click.option(
            "--password-file",
            type=click.Path(dir_okay=False, path_type=Path),
            help="File with that user's password. [else: variable GRAFANA_PASSWORD]",
        ),
        click.option("--password", envvar="GRAFANA_PASSWORD", hidden=True),
        click.option(
            "--ca-file", type=click.Path(dir_okay=False), help="Certificate authority (PEM) to trust."
        ),
    )

    def add(command: click.decorators.FC) -> click.decorators.FC:
        for option in reversed(options):
            command = option(command)
        return command

    return add


@dashboards.command(short_help="Put the dashboards into a Grafana.")
@click.option("--folder", "title", default="Gatecast", show_default=True, help="Folder in Grafana.")
@click.option("--thresholds", type=click.Path(), help="TOML file. [default: that of the package]")
@_grafana_options(is_url_needed=True)
def push(title: str, thresholds: str | None, **login: Any) -> None:
    """Put the dashboards into a Grafana, by uid: what is there already as it should be is left alone.

    \b
    Example:
      GRAFANA_TOKEN=... gatecast dashboards push --url https://grafana.plant.example
    """
    from dashboards.grafana import FOLDER_UID, GrafanaError

    boards = _load_boards(thresholds)
    try:
        grafana = _open_grafana(**login)
        if grafana.make_folder(title):
            click.echo(f"{grafana.url}: folder {title} made")
        for board in boards:
            done = "written" if grafana.push(board, FOLDER_UID) else "as it should be"
            click.echo(f"{grafana.url}/d/{board['uid']}: {done}")
    except GrafanaError as error:
        raise click.ClickException(str(error)) from error


@dashboards.command(short_help="Say which files, or dashboards in a Grafana, differ.")
@_options
@_grafana_options(is_url_needed=False)
def check(thresholds: str | None, folder: Path | None, **login: Any) -> None:
    """Compare the files on disk with what the thresholds and the code give; with --url, the dashboards of a
    Grafana. Ends with 1 where they differ.

    \b
    Examples:
      gatecast dashboards check
      GRAFANA_TOKEN=... gatecast dashboards check --url https://grafana.plant.example
    """
    if login["url"] is not None:
        _check_grafana(_load_boards(thresholds), **login)
        return
    from dashboards.build import FOLDER as OWN
    from dashboards.build import find_differences
    from dashboards.thresholds import FILE, read_thresholds

    target = folder or OWN
    differences = find_differences(read_thresholds(thresholds or FILE), target)
    for path, what in differences.items():
        click.echo(f"{target / path}: {what}", err=True)
    if differences:
        raise click.ClickException(
            f"expected {len(differences)} files as the thresholds give them, but they are not; "
            "gatecast dashboards build writes them"
        )
    click.echo(f"{target}: as the thresholds give it")


def _check_grafana(boards: Sequence[Mapping[str, Any]], **login: Any) -> None:
    from dashboards.grafana import GrafanaError, is_same

    others = 0
    try:
        grafana = _open_grafana(**login)
        for board in boards:
            there = grafana.find(board["uid"])
            what = "missing" if there is None else "as it should be" if is_same(board, there) else "different"
            others += what != "as it should be"
            click.echo(f"{grafana.url}/d/{board['uid']}: {what}", err=what != "as it should be")
    except GrafanaError as error:
        raise click.ClickException(str(error)) from error
    if others:
        raise click.ClickException(
            f"expected {len(boards)} dashboards as they are here, but {others} are not; "
            "gatecast dashboards push writes them"
        )


def _load_boards(thresholds: str | None) -> list[dict[str, Any]]:
    from dashboards.boards.build import build_boards
    from dashboards.thresholds import FILE, read_thresholds

    texts = build_boards(read_thresholds(thresholds or FILE))
    return [json.loads(text) for text in texts.values()]


def _open_grafana(
    url: str,
    token_file: Path | None,
    token: str | None,
    user: str | None,
    password_file: Path | None,
    password: str | None,
    ca_file: str | None,
) -> Grafana:
    from dashboards.grafana import Grafana

    token, password = _read_secret(token_file) or token, _read_secret(password_file) or password
    if token:
        return Grafana(url, token, ca_file=ca_file)
    if user and password:
        return Grafana(url, (user, password), ca_file=ca_file)
    raise click.UsageError(
        "expected a way to log in: --token-file, the variable GRAFANA_TOKEN, or --user with --password-file"
    )


def _read_secret(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{path}: expected a readable file with a secret ({error})") from error
