"""The program `bigmodel`: its commands, its global options, and what its exit codes mean.

0 done, 1 failed, 2 wrong usage (the command line or an experiment file), 130 stopped with Ctrl-C. Listing the
commands imports none of them.
"""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from bigmodel_core.cli.terminal import stdout_kept_for
from bigmodel_core.errors import (
    BigmodelError,
    BigmodelWarning,
    UnknownNameError,
    UsageError,
    close_matches,
    visible,
)

DONE, FAILED, WRONG_USAGE, STOPPED = 0, 1, 2, 130

COMMANDS: dict[str, dict[str, str]] = {
    "Train and deploy": {
        "train": "Train a model on a data set, or run an experiment file.",
        "tune": "Search the options of a training run; find a learning rate or batch size.",
        "evaluate": "Evaluate a run, a checkpoint or an ONNX file on a data set.",
        "export": "Write a run's best checkpoint as an ONNX file, verified.",
        "shrink": "Make a trained model smaller, train it on, compare both.",
        "predict": "Predict arrays, images or table rows with a trained model.",
        "forecast": "Forecast past the end of a series with a trained model.",
        "recommend": "List what users may like, with a model of ratings.",
        "generate": "Write on after a prompt with a trained language model.",
    },
    "Look": {
        "explain": "Say what of its inputs an answer of a model came from.",
        "runs": "List runs, compare, mark, delete or show them in a browser.",
        "report": "Write a page about a run: curves, mistakes, model.",
        "info": "Show what a model, run, checkpoint or ONNX file contains.",
        "advise": "Say which models suit a data set and fit this machine.",
        "data": "List data sets, or show one.",
        "plugins": "List, show, check or create plugins.",
    },
    "This machine": {
        "warmup": "Compile all kernels ahead of time.",
        "doctor": "Show what works on this machine, and how to fix the rest.",
    },
}
"""What the commands are for; the module `bigmodel_core.cli.NAME` does the work."""

# Typer brings its own copy of Click or uses the installed one, by version; this is ClickException either way.
_CommandLineError: type[Exception] = typer.BadParameter.__mro__[2]


class LazyGroup(TyperGroup):
    """The commands by name; a command's module is imported when the command is used, not to list it."""

    def list_commands(self, ctx: Any) -> list[str]:
        """All names, in the order the help shows them."""
        return [name for section in COMMANDS.values() for name in section]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A stand-in that knows the one line the help shows."""
        line = next((section[cmd_name] for section in COMMANDS.values() if cmd_name in section), None)
        return None if line is None else TyperCommand(cmd_name, help=line, rich_markup_mode=None)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is about to run."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            near = close_matches(args[0], self.list_commands(ctx), 1)
            hint = f"did you mean '{near[0]}'?" if near else "`bigmodel --help` lists the commands."
            raise UsageError(f"there is no command '{args[0]}'.", fix=hint)
        name, command, rest = super().resolve_command(ctx, args)
        return name, command if name is None else _loaded(name), rest

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The commands by what they are for."""
        for title, commands in COMMANDS.items():
            with formatter.section(title):
                formatter.write_dl(list(commands.items()))


def _loaded(name: str) -> Any:
    module = importlib.import_module(f"bigmodel_core.cli.{name}")
    command = typer.main.get_command(module.app)
    command.name = name
    return command


def command_app(*, commands: bool = False) -> typer.Typer:
    """The Typer application of one command's module; `commands` if it has its own commands."""
    return typer.Typer(
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        no_args_is_help=commands,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


app = typer.Typer(
    cls=LazyGroup,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="`bigmodel COMMAND --help` explains a command. "
    "Exit codes: 0 done, 1 failed, 2 wrong usage, 130 stopped.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from bigmodel_core import __version__

        print(f"bigmodel {__version__}")
        raise typer.Exit()


@app.callback()
def main_options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
    strict_plugins: Annotated[
        bool, typer.Option("--strict-plugins", help="Fail if any plugin fails to load.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Show all that an error knows, such as what a compiler said.")
    ] = False,
    disable_plugin: Annotated[
        list[str] | None,
        typer.Option("--disable-plugin", metavar="NAME", help="Do not load this plugin; may be repeated."),
    ] = None,
) -> None:
    """Train neural networks, extend them by plugins, deploy them with ONNX Runtime."""
    if verbose:
        os.environ["BIGMODEL_VERBOSE"] = "1"  # processes that this one starts inherit it
    if strict_plugins or disable_plugin:
        from bigmodel_core import registry

        registry.configure(strict=strict_plugins or None, block=disable_plugin or None)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program.

    Args:
        arguments: the command line without the program's name; the process's own if None.

    Returns:
        The exit code: 0 done, 1 failed, 2 wrong usage, 130 stopped with Ctrl-C.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    _open_missing_streams()
    with warnings.catch_warnings():
        warnings.simplefilter("always", BigmodelWarning)
        warnings.showwarning = _show_warning
        return _run(given)


def _open_missing_streams() -> None:
    """Have what was closed before the program began, as by `>&-`, lead nowhere.

    Otherwise the next file that is opened, a checkpoint say, would get the number of stdout and what is
    printed.
    """
    for number, mode in enumerate(("r", "w", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this
        name = ("stdin", "stdout", "stderr")[number]
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


def _run(given: list[str]) -> int:
    try:
        command = typer.main.get_command(app)
        wants_json = "--json" in given and not {"-h", "--help", "--version"} & set(given)
        with stdout_kept_for(wants_json):
            code = command.main(given, prog_name="bigmodel", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else DONE
    except (UsageError, _CommandLineError) as error:
        return _usage_error(error)
    except UnknownNameError as error:  # an option may hold a name that is looked up late: activation=...
        _failure(error)
        return WRONG_USAGE
    except BigmodelError as error:
        return _failure(error)
    except KeyboardInterrupt:
        return STOPPED
    except typer.Abort as error:
        return STOPPED if isinstance(error.__cause__, KeyboardInterrupt) else FAILED
    except BrokenPipeError:  # the reader of our output went away, as `head` does
        _silence(sys.stdout, sys.stderr)
        return FAILED
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        try:
            sys.stdout.flush()
        except OSError:  # it is our output that cannot be written
            _silence(sys.stdout)
        return _failure(BigmodelError(f"{place}{error.strerror or error}."), error)


def _silence(*streams: Any) -> None:
    """Discard what is still to be written, if writing it would fail when the program ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in streams:
        try:
            stream.flush()
        except OSError:
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _usage_error(error: Any) -> int:
    """Say what is wrong with the command line."""
    if isinstance(error, UsageError):
        _failure(error)
    elif type(error).__name__ == "NoArgsIsHelpError":  # the whole message is the help
        print(error.format_message(), file=sys.stderr)
    else:
        _tell(error.format_message())
        context = getattr(error, "ctx", None)
        if context is not None:
            print(f"  Fix: see `{context.command_path} --help`.", file=sys.stderr)
    return WRONG_USAGE


def _failure(error: BigmodelError, cause: BaseException | None = None) -> int:
    """Print the error; with the traceback only if it was requested."""
    if os.environ.get("BIGMODEL_TRACEBACK", "") not in ("", "0"):
        import traceback

        traceback.print_exception(cause or error)
    _tell(error.for_shell())
    return FAILED


def _tell(text: str) -> None:
    name = "\x1b[1;31mError:\x1b[0m" if _is_colourful(sys.stderr) else "Error:"
    print(name, visible(text, keep="\n"), file=sys.stderr)


def _is_colourful(stream: Any) -> bool:
    return stream.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    """A warning in one line, without the place in our source that gave it."""
    print(visible(f"Warning: {message}", keep="\n"), file=sys.stderr)
