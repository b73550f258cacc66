"""Options that say how a file is written, for every command that reads files of history."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any, TypeVar

import click

from pipeline.sources.dialect import TableOptions

CallableT = TypeVar("CallableT", bound=Callable[..., Any])


def table_options(command: CallableT) -> CallableT:
    """What is left out is found out and printed."""
    options = (
        click.option("--delimiter", help="Between cells: one character, or tab."),
        click.option("--decimal", type=click.Choice([".", ","]), help="Decimal sign."),
        click.option("--encoding", help="Such as utf-8 or cp1252."),
        click.option("--time-column", help="Name of the column of times."),
        click.option("--time-format", help="As strptime has it, such as '%d.%m.%Y %H:%M'."),
        click.option("--time-zone", help="IANA name for times without an offset; UTC by default."),
        click.option("--units-row/--no-units-row", default=None, help="A row of units under the header."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def take_table_options(settings: dict[str, Any]) -> TableOptions:
    """Take what ``table_options`` gave out of a command's settings."""
    return TableOptions(**{part.name: settings.pop(part.name) for part in fields(TableOptions)})
