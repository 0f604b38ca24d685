"""The command ``datajoint-link``: a thin shell. A verb is a function that calls a public one, and returns a report.

Nothing here loads DataJoint before a verb needs it, so that help and completion are there at once.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import signal
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from . import beginning, both, lab_a, lab_b
from .asking import UsageError
from .reporting import UNREADABLE, Asked, Exit, Report, failure, mistake, set_level

NAME = "datajoint-link"
#: Told before the verb, where they are asked for by who does not know it.
_BEFORE = ("--config", "--json", "-q", "--quiet", "-v", "--verbose")
_ENVIRONMENT = ("DJ_LOG_LEVEL", "DJ_LOG_STREAM")


class _Verbs(TyperGroup):
    """Lists the verbs by who uses them."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write a section for each."""
        sections = dict[str, list[tuple[str, str]]]()
        for name, command in self.commands.items():
            panel = getattr(command, "rich_help_panel", None) or "Both"
            sections.setdefault(str(panel), []).append((name, command.get_short_help_str(limit=200)))
        for title, verbs in sections.items():
            with formatter.section(title):
                formatter.write_dl(verbs)


app = typer.Typer(
    name=NAME,
    cls=_Verbs,
    help="Share living data between DataJoint database servers.\n\n"
    "LINK is a link of the links.toml, LINK.schema.Table a table of it by the source's names; without either it is all "
    "links.",
    epilog="Exit codes: 0 done, 1 failed, 2 usage, 3 differs or refused, 4 waits for you, 5 unreachable, 6 login or "
    "grant, 130 Ctrl-C.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
for verbs in (beginning, lab_b, lab_a, both):
    app.add_typer(verbs.app)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(both.version_line())
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(help="The links.toml.  [default: the one found upwards from here]", metavar="FILE"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Say it as one JSON document on stdout.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Say nothing where all is well.")] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Say more, and where errors come from.")] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    asked = context.ensure_object(Asked)
    if quiet and verbose:
        raise typer.BadParameter("-q and -v do not go together.")
    asked.verb, asked.config = context.invoked_subcommand, config
    asked.as_json, asked.quiet, asked.verbose = as_json, quiet, verbose
    if quiet or verbose:
        set_level("ERROR" if quiet else "DEBUG")


def main() -> None:
    """Run the command line, and exit with its code."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a key in letters that a terminal or a file does not take
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(run())


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code.

    Parameters
    ----------
    arguments : sequence of str, optional
        What follows the command's name. Default: what this process was started with.
    """
    words = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    asked, started = Asked(as_json="--json" in words), time.monotonic()
    with _logs_on_stderr(), _signals():
        report = _reported(words, asked)
        report.seconds = time.monotonic() - started
        try:
            report.tell(asked)
            sys.stdout.flush()
        except BrokenPipeError:
            # Whoever reads has read enough; the interpreter must not try again when it ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return int(report.exit)


def _reported(words: list[str], asked: Asked) -> Report:
    try:
        done = app(words, prog_name=NAME, obj=asked, standalone_mode=False)
    except UsageError as error:
        return _misunderstood(error)
    except (KeyboardInterrupt, typer.Abort):
        return _interrupted(asked)
    except Exception as error:
        return failure(error, asked)
    if isinstance(done, Report):
        return done
    # Help and version have been printed. Typer says Ctrl-C so.
    if done == Exit.INTERRUPTED:
        return _interrupted(asked)
    asked.as_json = False
    return Report(exit=Exit(done or 0))


def _interrupted(asked: Asked) -> Report:
    told = f"Interrupted. {asked.stands}"
    return Report(exit=Exit.INTERRUPTED, errors=[{"type": "KeyboardInterrupt", "what": told, "hint": None}])


def _misunderstood(error: Any) -> Report:
    context, option = error.ctx, getattr(error, "option_name", None)
    path = context.command_path if context else NAME
    # What is raised by a verb is no parameter's, and its message a sentence of ours.
    what = error.format_message() if getattr(error, "param", None) or option else error.message
    if option in _BEFORE:
        return mistake(what, f"It stands before the verb: {NAME} {option} ...")
    return mistake(what, f"Try: {path} --help")


@contextlib.contextmanager
def _logs_on_stderr() -> Iterator[None]:
    """DataJoint logs to stdout, where the answer goes that somebody may redirect into a file."""
    before = {name: os.environ.get(name) for name in _ENVIRONMENT}
    logger = logging.getLogger("datajoint")
    level = logger.level
    os.environ["DJ_LOG_STREAM"] = "stderr"
    streams = [(handler, handler.setStream(sys.stderr)) for handler in _streaming(logger)]
    try:
        with warnings.catch_warnings():
            # It may well be the environment that says all; what DataJoint thinks of a server is no news each night.
            warnings.filterwarnings("ignore", "No datajoint.json found|MariaDB is not officially supported")
            # What it would go on with are half of the settings, and perhaps another server.
            warnings.filterwarnings("error", f"{UNREADABLE} from")
            yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        for handler, stream in streams:
            handler.setStream(stream or sys.stderr)
        if level:
            logger.setLevel(level)


def _streaming(logger: logging.Logger) -> list[Any]:
    return [handler for handler in logger.handlers if isinstance(handler, logging.StreamHandler)]


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """A signal by which cron, systemd or a closed terminal ends a process is a way out as Ctrl-C is."""
    names = ("SIGTERM", "SIGHUP", "SIGBREAK")  # not all are everywhere
    before = {number: signal.getsignal(number) for name in names if (number := getattr(signal, name, None))}
    try:
        for number, handler in before.items():
            if handler is signal.SIG_DFL:  # nohup ignores one
                signal.signal(number, signal.default_int_handler)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
