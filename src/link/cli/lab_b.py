"""What the lab does that pulls: each verb is one public function of the pipelines of a ``links.toml``."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from .asking import UsageError, may_ask
from .reporting import Asked, Exit, Report, exit_of, failure, gravest
from .targets import RequiredWords, Target, Words, query, read, targets

if TYPE_CHECKING:
    from ..loading import Loaded
    from ..pipeline import Pipeline

app = typer.Typer()

T = TypeVar("T")


@dataclass(frozen=True)
class Turn(Target):
    """A target when it is its turn, and the links that were loaded."""

    loaded: Loaded = field(kw_only=True)


#: The section of the help.
PANEL: Any = {"rich_help_panel": "Lab B"}

Where = Annotated[
    str | None, typer.Option(metavar="SQL", help="Only what this condition is true of; the tables are named.")
]
DryRun = Annotated[bool, typer.Option("-n", "--dry-run", help="Only say what would be done.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
KeepGoing = Annotated[
    bool, typer.Option("--keep-going", help="Go on after an entity that is refused, and tell it at the end.")
]
Processes = Annotated[int, typer.Option(metavar="N", min=1, help="With so many worker processes.")]
Transfers = Annotated[int, typer.Option(metavar="N", min=1, help="Copy so many files at once.")]
Descendants = Annotated[bool, typer.Option("--descendants", help="And all that was derived from it.")]


@app.command("ping", **PANEL)
def _ping(context: typer.Context, links: Words = None) -> Report:
    """Look whether servers, accounts, rights, tables and stores are there."""

    def ping(pipeline: Pipeline, _: Turn) -> Report:
        found = pipeline.ping()
        codes = [exit_of(error) for error in found.errors]
        errors = _plain(found.errors)
        return Report(repr(found), counts=found.to_dict(), exit=gravest(codes), errors=errors, has_told_errors=True)

    return _each(context, links, ping)


@app.command("ls", **PANEL)
def _ls(context: typer.Context, links: Words = None) -> Report:
    """List the links, their local tables, and how many rows these have."""

    def listed(pipeline: Pipeline, turn: Turn) -> Report:
        counts = _those_named(turn, found := pipeline.counts(), found)
        width = max(map(len, counts), default=0)
        lines = [f"  {name:<{width}}  {number:>12,}" for name, number in counts.items()]
        return Report("\n".join([repr(pipeline), *(lines or ["  nothing has been pulled yet"])]), counts=counts)

    return _each(context, links, listed)


@app.command("plan", **PANEL)
def _plan(context: typer.Context, links: Words = None, where: Where = None, descendants: Descendants = False) -> Report:
    """Say what a pull would bring; changes nothing anywhere."""
    return _each(context, links, lambda pipeline, turn: _planned(pipeline, turn, where, descendants))


def _planned(pipeline: Pipeline, turn: Turn, where: str | None, descendants: bool) -> Report:
    from ..errors import PrivilegeError

    plan = pipeline.plan(*_selections(pipeline, turn, where), descendants=descendants)
    report = Report(
        repr(plan),
        counts=plan.to_dict(),
        keys={conflict.table: _keys(conflict.examples) for conflict in plan.conflicts},
        exit=Exit.DIFFERS if plan.conflicts else Exit.DONE,
    )
    if plan.missing:
        report.exit = Exit.LOGIN
        report.errors = _plain([PrivilegeError("The account lacks rights for a pull.", "\n".join(plan.missing))])
    return report


@app.command("pull", **PANEL)
def _pull(
    context: typer.Context,
    links: Words = None,
    where: Where = None,
    limit: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="At most so many new entities; what they stand on is not counted."),
    ] = None,
    dry_run: DryRun = False,
    keep_going: KeepGoing = False,
    processes: Processes = 1,
    transfers: Transfers = 8,
    descendants: Descendants = False,
) -> Report:
    """Copy what is selected, with all that it stands on, and hold it at the source.

    Of a link that is named without a table it is what its [link.NAME.pull] selects.
    """
    if dry_run:
        if limit is not None:
            raise typer.BadParameter("--limit does not go with --dry-run: a plan is about all that is selected.")
        return _plan(context, links, where, descendants)
    asked: Asked = context.obj
    asked.stands = (
        "What was pulled stays, and is held; what was only claimed is let go of, by the next pull at the latest, which "
        "goes on."
    )

    def pull(pipeline: Pipeline, turn: Turn) -> Report:
        result = pipeline.pull(
            *_selections(pipeline, turn, where),
            display_progress=_shows_progress(asked),
            max_calls=limit,
            suppress_errors=keep_going,
            processes=processes,
            transfers=transfers,
            descendants=descendants,
        )
        refused = {name: [key for key, _ in each.errors] for name, each in result.tables.items()}
        return Report(
            repr(result),
            counts=result.to_dict(),
            keys={name: _keys(keys) for name, keys in refused.items() if keys},
            errors=_plain([error for _, error in result.errors]),
            exit=Exit.DIFFERS if result.errors else Exit.DONE,
        )

    return _each(context, links, pull)


@app.command("status", **PANEL)
def _status(
    context: typer.Context,
    links: Words = None,
    deep: Annotated[bool, typer.Option("--deep", help="Look up every key on both servers.")] = False,
) -> Report:
    """Count entities by state; exit 4 if some wait for you."""

    def status(pipeline: Pipeline, turn: Turn) -> Report:
        found = pipeline.status(deep, tables=turn.tables or None)
        waits = _waits(pipeline, turn, found)
        notes = [f"waiting: {', '.join(f'{number:,} {word}' for word, number in waits.items())}"] * bool(waits)
        return Report(repr(found), notes, counts=found.to_dict(), exit=Exit.WAITS if waits else Exit.DONE)

    return _each(context, links, status)


def _waits(pipeline: Pipeline, turn: Turn, found: Any) -> dict[str, int]:
    """What waits for somebody, by state. What ``populate()`` has made here looks unheld until it is compared."""
    from ..model.states import State

    waits = {state.value: number for state, number in found.waiting.items()}
    if waits.keys() == {State.UNHELD.value}:
        repair = pipeline.repair(tables=turn.tables or None)
        return {state.value: number for state, (number, _) in repair.actions.items()}
    return waits


@app.command("flagged", **PANEL)
def _flagged(context: typer.Context, links: Words = None) -> Report:
    """List the keys that the source wants deleted; exit 4 if there are any."""

    def flagged(pipeline: Pipeline, turn: Turn) -> Report:
        found = pipeline.flagged
        keys = {name: _keys(some) for name, some in _those_named(turn, found, found.tables).items()}
        notes = [f"{name}: {len(some):,} flagged" for name, some in keys.items()] or ["nothing is flagged"]
        counts = {name: len(some) for name, some in keys.items()}
        return Report(_listed(keys), notes, counts=counts, keys=keys, exit=Exit.WAITS if keys else Exit.DONE)

    return _each(context, links, flagged)


@app.command("delete", **PANEL)
def _delete(
    context: typer.Context,
    links: RequiredWords,
    where: Where = None,
    flagged: Annotated[bool, typer.Option("--flagged", help="What the source wants deleted.")] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> Report:
    """Delete local rows, with what depends on them here, and release their holds."""
    asked: Asked = context.obj
    if flagged == (where is not None):
        raise typer.BadParameter("Say either --where SQL, or --flagged.")
    asked.stands = "Rows are deleted with their holds or not at all; what was begun the next operation finishes."
    asks = not dry_run and may_ask(asked, yes, "delete")

    def delete(pipeline: Pipeline, turn: Turn) -> Report:
        if flagged and dry_run:
            found = pipeline.flagged
            wanted = _those_named(turn, found, found.tables)
            # What depends on these is known of all that is flagged, together.
            return _would_delete(wanted, {n: len(rows) for n, rows in found.dependents.items()})
        if flagged:
            from ..model.shown import number_of

            number = pipeline.delete_flagged(asks, tables=turn.tables or None)
            return Report(
                f"deleted {number_of(number, 'flagged entity', 'flagged entities')}", counts={"deleted": number}
            )
        assert where is not None
        _require_tables(turn, where)
        # What is wrong with a condition is said before anything is deleted.
        going = {table: _here(pipeline, table, where) for table in turn.tables}
        if dry_run:
            return _would_delete({table: rows.keys() for table, rows in going.items()}, _depending(going.values()))
        numbers = {table: rows.delete(prompt=asks) for table, rows in going.items()}
        text = "\n".join(f"{name}: deleted {number:,}" for name, number in numbers.items())
        return Report(text, counts=numbers)

    return _each(context, links, delete)


def _would_delete(keys: Mapping[str, Any], dependents: Mapping[str, int]) -> Report:
    written = {name: _keys(some) for name, some in keys.items()}
    notes = [f"{name}: {len(some):,} would be deleted" for name, some in written.items()] or [
        "nothing would be deleted"
    ]
    notes += [f"with them, of {name}: {number:,}" for name, number in dependents.items()]
    counts = {name: len(some) for name, some in written.items()}
    return Report(_listed(written), notes, counts=counts, keys=written, more={"dependents": dict(dependents)})


def _depending(some: Iterable[Any]) -> dict[str, int]:
    """How many rows of which other tables here DataJoint would delete with these, by the names of these tables."""
    from ..host import Cascade

    found = dict[str, int]()
    for rows in some:
        for table in Cascade(rows, "enforce").tables:
            if table.full_table_name != rows.full_table_name and len(table):
                found[table.full_table_name] = max(found.get(table.full_table_name, 0), len(table))
    return found


def _here(pipeline: Pipeline, table: str, where: str) -> Any:
    """Rows of a local table."""
    from ..selections import restricted

    schema, _, name = table.partition(".")
    return restricted(pipeline[schema][name](), where, table)


def _dependents(result: Any) -> list[str]:
    return repr(result.dependents).splitlines() if result.dependents else []


@app.command("verify", **PANEL)
def _verify(
    context: typer.Context,
    links: Words = None,
    files: Annotated[bool, typer.Option("--files", help="Read the local files, too.")] = False,
    sample: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Read the files of so many entities, chosen at random.")
    ] = None,
    transfers: Annotated[int, typer.Option(metavar="N", min=1, help="Read so many files at once.")] = 8,
) -> Report:
    """Prove that what is here is what the source has; exit 3, with the keys, if not."""
    asked: Asked = context.obj
    asked.stands = "Nothing was changed, and not everything was compared."

    def verify(pipeline: Pipeline, turn: Turn) -> Report:
        found = pipeline.verify(
            files or sample is not None, sample, _shows_progress(asked), transfers, tables=turn.tables or None
        )
        keys = {name: _unequal(each) for name, each in found.tables.items() if not each}
        return Report(
            _listed(keys),
            repr(found).splitlines(),
            counts=found.to_dict(),
            keys=keys,
            exit=Exit.DONE if found else Exit.DIFFERS,
        )

    return _each(context, links, verify)


def _unequal(found: Any) -> list[dict[str, Any]]:
    """The keys of entities that are not right, each once."""
    damaged = [each.key for each in [*found.damaged, *found.dangling]]
    return _once(_keys([*found.differing, *found.missing, *damaged]))


@app.command("refresh", **PANEL)
def _refresh(
    context: typer.Context,
    links: Words = None,
    where: Where = None,
    dry_run: DryRun = False,
    keep_going: KeepGoing = False,
    processes: Processes = 1,
    transfers: Transfers = 8,
) -> Report:
    """Bring what was edited at the source up to date here, in place."""
    asked: Asked = context.obj
    asked.stands = "Each entity is refreshed whole or not at all; what was refreshed stays so."

    def refresh(pipeline: Pipeline, turn: Turn) -> Report:
        _require_tables(turn, where)
        result = pipeline.refresh(
            *(query(pipeline, table, where) for table in turn.tables),
            dry_run=dry_run,
            display_progress=_shows_progress(asked),
            suppress_errors=keep_going,
            processes=processes,
            transfers=transfers,
        )
        return Report(
            repr(result),
            _dependents(result),
            counts=result.to_dict(),
            keys={name: _keys(each.keys) for name, each in result.tables.items() if each.keys},
            errors=_plain([error for _, error in result.refused]),
            exit=Exit.DIFFERS if result.refused else Exit.DONE,
        )

    return _each(context, links, refresh)


@app.command("repair", **PANEL)
def _repair(
    context: typer.Context,
    links: Words = None,
    apply: Annotated[bool, typer.Option("--apply", help="Do it.  [default: only say what would be done]")] = False,
    vanished: Annotated[
        Literal["refetch", "release"],
        typer.Option(help="What to do about entities that are held and not here.", show_default=True),
    ] = "refetch",
) -> Report:
    """Bring to rest what an interrupted run, a backup or a hand has left; exit 4 if that waits for --apply."""

    def repair(pipeline: Pipeline, turn: Turn) -> Report:
        result = pipeline.repair(not apply, vanished, tables=turn.tables or None)
        waits = bool(result.actions) and not apply
        return Report(repr(result), counts=result.to_dict(), exit=Exit.WAITS if waits else Exit.DONE)

    return _each(context, links, repair)


@app.command("end", **PANEL)
def _end(context: typer.Context, links: RequiredWords, yes: Yes = False) -> Report:
    """Release all holds; the rows here stay, as your own."""
    asked: Asked = context.obj
    asked.stands = "What was released stays so; the rest is held, and the rows are here."
    asks = may_ask(asked, yes, "release all holds")

    def end(pipeline: Pipeline, turn: Turn) -> Report:
        numbers = pipeline.end(tables=turn.tables or None, prompt=asks)
        text = "\n".join(f"{name}: released {number:,}" for name, number in numbers.items())
        again = f"As long as [link.{turn.link}] is in {turn.loaded.path}, a pull or a repair holds rows again."
        holds_again = not turn.tables and any(numbers.values())
        return Report(text or "nothing is held", [again] * holds_again, counts=numbers)

    return _each(context, links, end)


# what verbs have in common


def _each(context: typer.Context, words: list[str] | None, do: Callable[[Pipeline, Turn], Report]) -> Report:
    """Do something with each link that is named; what fails with one keeps no other from its turn."""
    asked: Asked = context.obj
    file = read(asked)
    named = targets(words or [], file.links)
    if not named:
        raise typer.BadParameter(f"{file.path} has no links.")
    from ..loading import load

    loaded, reports = load(file.path), list[Report]()
    for target in named:
        started = time.monotonic()
        try:
            report = do(loaded[target.link], Turn(target.link, target.tables, loaded=loaded))
        except UsageError:
            raise
        except Exception as error:
            report = failure(error, asked)
        report.link, report.seconds = target.link, time.monotonic() - started
        reports.append(report)
    if len(reports) == 1:
        return reports[0]
    return Report(exit=gravest([report.exit for report in reports]), links=reports)


def _selections(pipeline: Pipeline, turn: Turn, where: str | None) -> list[Any]:
    """What is to be pulled: the tables that are named, or what the link's own selections say."""
    if turn.tables:
        return [query(pipeline, table, where) for table in turn.tables]
    _require_tables(turn, where)
    standing = turn.loaded.standing(turn.link)
    if not standing:
        raise typer.BadParameter(
            f"[link.{turn.link}.pull] selects nothing: name a table, {turn.link}.schema.Table, or write "
            '"schema.Table" = "condition" there.'
        )
    return standing


def _those_named(turn: Turn, found: Mapping[str, T], known: Collection[str]) -> dict[str, T]:
    """Of what was found of tables, by ``"schema.Class"``, that of those that are named; all, where none is."""
    from ..errors import NotFoundError
    from ..model.schema import nearest

    if missing := [name for name in turn.tables if name not in known]:
        raise NotFoundError(f"Of {', '.join(missing)} nothing has been pulled yet.", nearest(missing[0], known))
    return {name: some for name, some in found.items() if not turn.tables or name in turn.tables}


def _require_tables(turn: Turn, where: str | None) -> None:
    if where is not None and not turn.tables:
        raise typer.BadParameter(f"--where is about tables: {turn.link}.schema.Table.")


def _shows_progress(asked: Asked) -> bool:
    return sys.stderr.isatty() and not asked.quiet


def _keys(keys: Any) -> list[dict[str, Any]]:
    """Keys as a document has them; times are written as those are that come from the servers as texts."""
    from ..model.shown import plain

    def written(value: Any) -> Any:
        return f"{value:%Y-%m-%d %H:%M:%S.%f}" if isinstance(value, datetime) else plain(value)

    return [{name: written(value) for name, value in key.items()} for key in keys]


def _once(keys: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [json.loads(text) for text in dict.fromkeys(json.dumps(key, ensure_ascii=False) for key in keys)]


def _listed(keys: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """A line for each key."""
    return "\n".join(f"{name} {json.dumps(key, ensure_ascii=False)}" for name, some in keys.items() for key in some)


def _plain(errors: Sequence[Exception]) -> list[dict[str, Any]]:
    from ..model.shown import plain_error

    return [plain_error(error) for error in errors]
