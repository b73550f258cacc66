"""Options that `simulate`, `replay` and `inspect` share."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, TypeVar

import click

from pipeline.clients import DEFAULT_BOOTSTRAP
from pipeline.durations import parse_duration_ms

# Readings in a message of the batch formats: beyond a few hundred the format costs no less.
DEFAULT_BATCH = 500

CallableT = TypeVar("CallableT", bound=Callable[..., Any])


class Duration(click.ParamType):
    """A length of time, as milliseconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            return parse_duration_ms(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def broker_options(command: CallableT) -> CallableT:
    """Where the broker is and how to log in."""
    for option in (
        click.option(
            "--client",
            multiple=True,
            metavar="KEY=VALUE",
            help="A setting of kafka-python, such as security_protocol=SSL; KEY=@FILE reads a secret.",
        ),
        click.option("--bootstrap", default=DEFAULT_BOOTSTRAP, show_default=True, help="HOST:PORT,…"),
    ):
        command = option(command)
    return command


def format_options(command: CallableT) -> CallableT:
    """How readings are written into messages."""
    for option in (
        click.option(
            "--batch",
            type=click.IntRange(min=1),
            help=f"Readings in a message. [default: 1 for json, else {DEFAULT_BATCH}]",
        ),
        click.option(
            "--format",
            type=click.Choice(["json", "columns", "arrow"]),
            default="json",
            show_default=True,
            help="Of messages; json with a batch above 1 gives arrays.",
        ),
    ):
        command = option(command)
    return command


def resolve_batch(format: str, batch: int | None) -> int:
    """Readings in a message."""
    return batch or (1 if format == "json" else DEFAULT_BATCH)


@contextlib.contextmanager
def hold_sigterm() -> Iterator[None]:
    """Within, SIGTERM means what Ctrl-C means; a container's first process would else ignore it."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
