"""The application: its commands, `--version`, and the one place where errors become messages and exit codes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, Any, cast

import typer
from typer.core import TyperGroup

from profuse.cli._launch import LINE
from profuse.cli._output import release_outputs
from profuse.cli._print import say
from profuse.cli._process import exit_code, guard_output, stopping
from profuse.cli.ask import AskCommand, ask
from profuse.cli.cache import cache
from profuse.cli.card import card
from profuse.cli.compare import compare
from profuse.cli.datasets import datasets
from profuse.cli.evaluate import evaluate
from profuse.cli.fit import fit
from profuse.cli.fusions import fusions
from profuse.cli.impute import impute
from profuse.cli.merge import merge
from profuse.cli.parts import parts
from profuse.cli.predict import predict
from profuse.cli.report import report
from profuse.cli.retrieve import retrieve
from profuse.cli.schema import schema
from profuse.cli.shard import shard
from profuse.cli.tune import tune
from profuse.errors import ProfuseError

__all__ = ["app", "main"]

_UsageError = cast("type[Exception]", typer.BadParameter.__base__)  # typer itself names only its subclasses
BAD_INPUT = 2


class _Group(TyperGroup):
    """Tells an expected error in one message on stderr, exit code 2; a signal is exit code 128 and its number."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        if "--debug" in args[:end]:  # anywhere on the line, as people add it to the end of what just failed
            args = ["--debug", *(a for a in args[:end] if a != "--debug"), *args[end:]]
        LINE[:] = args
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        try:
            with stopping():
                return super().invoke(ctx)
        except (ProfuseError, OSError) as error:
            if ctx.params.get("debug"):
                raise
            say(f"Error: {_told(error)}", err=True)
            raise typer.Exit(BAD_INPUT) from error
        except _UsageError as error:
            say(f"Error: {_usage(error)}", err=True)
            raise typer.Exit(BAD_INPUT) from error
        except KeyboardInterrupt as error:
            say("Interrupted.", err=True)
            raise typer.Exit(exit_code(error)) from error
        except MemoryError as error:
            if ctx.params.get("debug"):
                raise
            say("Error: there must be enough memory; it is used up. Give less data, or run fewer --jobs.", err=True)
            raise typer.Exit(BAD_INPUT) from error
        finally:
            release_outputs()


def _usage(error: Any) -> str:
    """Returns one line: which argument, what must hold, where the help is."""
    said = " ".join(error.format_message().split()).rstrip(".")
    said = said.replace("Invalid value for ", "").replace("Input should be", "must be")
    where = error.ctx.command_path if error.ctx is not None else "profuse"
    return f"{said}{'' if said.endswith('?') else '.'} See '{where} --help'."


def _told(error: ProfuseError | OSError) -> str:
    if isinstance(error, ProfuseError) or error.filename is None:
        return " ".join(str(error).split()) if "\n" in str(error) else str(error)
    return f"{error.filename}: must be readable, or writable for output; {error.strerror or error}. Name another path."


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        say(f"profuse {version('profuse')}")
        raise typer.Exit


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error; anywhere on the line.")
    ] = False,
) -> None:
    """Does fusing several kinds of data help, which way helps most, and what does it cost?

    Start with [bold]profuse compare glyphs[/bold] (embedded data), then
    [bold]profuse compare mine.csv --target y[/bold].
    """


for _command in (
    compare, merge, tune, fit, predict, evaluate, card, impute, retrieve, datasets, fusions, parts, cache, schema,
    shard, report,
):  # fmt: skip
    app.command()(_command)
app.command(cls=AskCommand)(ask)


def main(args: Sequence[str] | None = None) -> None:
    """Runs the command line and exits: 0 done, 1 a fault of profuse, 2 bad input, 128 + n ended by signal n."""
    guard_output()
    try:
        app(args=None if args is None else list(args), prog_name="profuse")
    except OSError as error:  # of help that is written to a full disk, which is no command's
        if "--debug" in (sys.argv if args is None else args):
            raise
        say(f"Error: {_told(error)}", err=True)
        sys.exit(BAD_INPUT)
