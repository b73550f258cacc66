"""The command `gatecast`. Exit codes: 0 done, 1 failed, 2 wrong usage or input, 130 stopped by Ctrl-C."""

import sys
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from typing import Any, TypeVar

import click

from pipeline.bench_command import bench
from pipeline.checkpoints_command import checkpoints
from pipeline.clients import BrokerError, SettingError
from pipeline.compare_command import compare
from pipeline.config import ConfigError, load_config, suggest
from pipeline.config_command import config as config_commands
from pipeline.dashboards_command import dashboards
from pipeline.demo_command import demo
from pipeline.inspect_command import inspect
from pipeline.replay_command import replay
from pipeline.run_command import run
from pipeline.simulate_command import simulate
from pipeline.sources.dialect import TableError
from pipeline.table_options import table_options, take_table_options
from pipeline.topics_command import topics

FAILED, REFUSED, STOPPED = 1, 2, 130
_DEBUG = "gatecast.debug"

CallableT = TypeVar("CallableT", bound=Callable[..., Any])


class Failed(click.ClickException):
    """Something went wrong on the way."""

    exit_code = FAILED


class Refused(click.ClickException):
    """What was given can't be used."""

    exit_code = REFUSED


class Stopped(click.ClickException):
    """Ctrl-C."""

    exit_code = STOPPED


class Commands(click.Group):
    """A group whose errors are one sentence on stderr."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        known = self.list_commands(ctx)
        if args and not args[0].startswith("-") and args[0] not in known:
            raise click.UsageError(f"unknown command {args[0]!r}; {suggest(args[0], known)}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt as error:  # click itself would write an empty line first
            raise Stopped("stopped") from error
        except Exception as error:
            if ctx.meta.get(_DEBUG):
                traceback.print_exc()
            raise _explain(error) from error

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        run: Callable[[], Any] = partial(
            super().main, args, prog_name, complete_var, standalone_mode=False, **extra
        )
        if not standalone_mode:
            return run()
        try:
            code: Any = run()
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            code = REFUSED
        except click.ClickException as error:
            click.echo(f"gatecast: {' '.join(error.format_message().split())}", err=True)
            code = error.exit_code
        except (KeyboardInterrupt, click.Abort):
            click.echo("gatecast: stopped", err=True)
            code = STOPPED
        sys.exit(code if isinstance(code, int) else 0)


def _explain(error: Exception) -> click.ClickException:
    if isinstance(error, TableError | ConfigError | SettingError):
        return Refused(str(error))
    if isinstance(error, BrokerError):
        return Failed(str(error))
    if isinstance(error, OSError):
        return Failed(f"{error.filename or 'system'}: {error.strerror or error}")
    words = str(error) or "no message"
    return Failed(f"{type(error).__name__}: {words} (--debug shows where)")


def _set_debug(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        ctx.meta[_DEBUG] = True


def debug_option(command: CallableT) -> CallableT:
    """--debug, before or behind the name of the command."""
    option = click.option(
        "--debug", is_flag=True, expose_value=False, callback=_set_debug, help="Show tracebacks of errors."
    )
    return option(command)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("gatecast"), prog_name="gatecast")
@debug_option
def main() -> None:
    """Forecast sensor streams online with networks that learn from every reading.

    \b
    Example: gatecast backtest plant.csv --horizon 24
    """


OUT_FILE = click.Path(dir_okay=False, writable=True)


@main.command(short_help="Forecast history as if it were live, and score it.")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--forecasters", help="Names with commas. [default: naive,seasonal_naive,linear,rnn,lstm,blend]"
)
@click.option("--horizon", type=click.IntRange(min=1), help="Steps ahead. [default: 24]")
@click.option("--rows", type=click.IntRange(min=1), help="Take only the first so many rows of each file.")
@click.option(
    "--warmup",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.2,
    show_default=True,
    help="Share of the rows used only to learn.",
)
@click.option(
    "--score-from",
    type=click.FloatRange(0, 1, max_open=True),
    help="Share of the rows from which on targets are scored. [default: 0.25, or --warmup if larger]",
)
@click.option(
    "--scale",
    type=click.Choice(["warmup", "none"]),
    help="Units of errors: the deviation of each series in the warm-up, or its own units. "
    "[default: warmup, none without one]",
)
@click.option("--partitions", type=click.IntRange(min=1), default=1, show_default=True, help="Shards.")
@click.option("--config", type=click.Path(), help="TOML file; options given here win over it.")
@click.option("--seed", type=click.IntRange(min=0), help="Of everything random. [default: 0]")
@click.option("--device", help="auto, cpu or cuda. [default: auto]")
@click.option("--json", "json_path", type=OUT_FILE, metavar="OUT", help="Write all figures as JSON.")
@click.option("--forecasts", type=OUT_FILE, metavar="OUT.parquet", help="Write every forecast.")
@click.option(
    "--champion", help="Whose errors alerts follow, or leader: of each series its own. [default: blend]"
)
@click.option("--labels", type=click.Path(), metavar="WINDOWS.json", help="Measure alerts against these.")
@click.option("--alerts", type=OUT_FILE, metavar="OUT.csv", help="Write a score for every reading.")
@click.option("--report", type=OUT_FILE, metavar="OUT.html", help="Write a page with figures and pictures.")
@click.option(
    "--plots", type=click.Path(file_okay=False), metavar="DIR", help="Write the pictures as PNG files."
)
@table_options
@debug_option
def backtest(
    files: tuple[str, ...],
    config: str | None,
    **settings: Any,
) -> None:
    """Forecast the history in FILE... as if it were live, and say how well that went.

    A folder stands for the files in it, each a shard of its own, over all cores; so does --labels.
    A file is CSV or Parquet, wide (time, then a column per series) or long (time, series, value). Each
    forecast is made before its targets are read, then scored, then learnt from.

    \b
    Example:
      gatecast backtest ETTh1.csv --rows 14400 --horizon 48 --json out.json
    """
    from pipeline.backtest_command import run_command  # torch takes seconds to load; --help need not wait

    table = take_table_options(settings)
    run_command(files, table, load_config(config), **settings)


main.add_command(bench)
for command in (
    compare,
    demo,
    inspect,
    replay,
    simulate,
    run,
    config_commands,
    topics,
    checkpoints,
    dashboards,
):
    main.add_command(debug_option(command))


if __name__ == "__main__":
    main()
