"""`gatecast dashboards`: rules, rule tests and dashboards, written from one file of thresholds."""

from __future__ import annotations

from pathlib import Path

import click

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


@dashboards.command(short_help="Say which files differ from what the thresholds give.")
@_options
def check(thresholds: str | None, folder: Path | None) -> None:
    """Compare the files on disk with what the thresholds and the code give; ends with 1 where they differ.

    \b
    Example:
      gatecast dashboards check
    """
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
