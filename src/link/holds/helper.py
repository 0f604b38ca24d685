"""The helper table at the source: found and checked against the source table, created or completed where it must be.

Nothing else is ever created at the source but what lets its own users go on (see :mod:`link.holds.guests`), and the
helper table's schema, where the account may.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from ..config import LinkSpec
from ..errors import (
    ConfigError,
    ConnectionLimitError,
    DefinitionError,
    HelperMismatchError,
    LinkError,
    PrivilegeError,
    ReadOnlyError,
    ServerError,
    UnreachableError,
)
from ..model.layouts import HelperColumns, Layout
from ..model.mapping import widened, widens
from ..model.schema import Column, Table, part_name
from ..model.served import Tie, read, shown
from ..servers.catalogue import Catalogue
from ..servers.dialect import plain
from ..servers.session import Session
from ..servers.site import Site
from .guests import Beside, foretell_origins, welcome_guests
from .serving import Served, other_helper, require_one
from .undoing import Undoing

logger = logging.getLogger("link")

HELPER_RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE")
#: So many helper tables are created by several sessions, where a server takes one statement at a time.
MANY, CREATORS = 8, 4


@dataclass(frozen=True)
class Wanted:
    """A helper table, as a link wants it.

    Attributes
    ----------
    spec : LinkSpec
        What the link was given.
    source : Table
        The master table at the source.
    origins : callable
        Where its attributes come from.
    serves : Served
        The local table, as the helper table is told of it.
    """

    spec: LinkSpec
    source: Table
    origins: Callable[[], Mapping[str, str]]
    serves: Served


def provide_helpers(source: Site, local: Site, catalogue: Catalogue, wanted: Sequence[Wanted]) -> list[Table]:
    """The helper tables of links, with their part tables, checked; created where they are missing.

    Parameters
    ----------
    source, local : Site
        Both ends.
    catalogue : Catalogue
        The source's, by whose session it is done.
    wanted : sequence of Wanted
        What links want.

    Raises
    ------
    HelperMismatchError
        There is a table of that name which is no helper table of this link.
    PrivilegeError
        A right is missing.
    """
    providers = [_Provider(source, local, catalogue, each) for each in wanted]
    missing = [provider for provider in providers if not provider.find()]
    if missing:
        with local.session() as here:
            for session in (catalogue.session, here):
                session.require_changes()
    for schema in dict.fromkeys(provider.schema for provider in missing):
        _Creation(source, catalogue, schema, [each for each in missing if each.schema == schema]).create()
    helpers = [provider.check() for provider in providers]
    pairs = zip(wanted, helpers, strict=True)
    welcome_guests(source, catalogue, [Beside(e.source, helper, e.spec.layout, e.origins()) for e, helper in pairs])
    return helpers


class _Provider:
    """Finds or makes one helper table, through one session at the source."""

    def __init__(self, source: Site, local: Site, catalogue: Catalogue, wanted: Wanted) -> None:
        self.source, self.local, self.catalogue, self.session = source, local, catalogue, catalogue.session
        self.spec, self.serves, self.table = wanted.spec, wanted.serves, wanted.source
        self.schema, self.name, self.layout = self.spec.find_helper_schema(), self.spec.helper_table, self.spec.layout
        self.parts = [part_name(self.name, suffix) for suffix in self.layout.parts.values()]
        self.tie = Tie(source.facts.name, (self.table.schema, self.table.name), (self.schema, self.name))
        self._origins = wanted.origins

    @property
    def beside(self) -> Beside:
        """The helper table beside its source table, as it will be."""
        helper = replace(self.table, schema=self.schema, name=self.name)
        return Beside(self.table, helper, self.layout, self._origins())

    @property
    def is_there(self) -> bool:
        """Whether the helper table is there, with its parts."""
        return {self.name, *self.parts} <= set(self.catalogue.tables(self.schema))

    def find(self) -> bool:
        """Whether the helper table is there; else it may be created."""
        other = other_helper(self.catalogue, self.serves, self.tie) if self.spec.mirror else None
        if other and other[0] == self.schema:
            # A pipeline names none: whatever serves its tables does.
            self.tie, self.name = replace(self.tie, helper=other), other[1]
        require_one(self.source, self.local, self.spec, self.catalogue, self.serves, self.tie)
        if not (is_there := self.is_there) and self.serves.complaint:
            raise self.serves.complaint
        return is_there

    def check(self) -> Table:
        """The helper table, which is there: completed, and told whom it serves."""
        helper = self._read(self.name)
        check_helper(self.source, self.table, helper, self.layout)
        for part in self.parts:
            _check_part(helper, self._read(part))
        self._require_served(helper)
        self._require_all_rows(helper)
        completed = self._completed(helper)
        self._tell(helper)
        self.serves.tie = self.tie
        return completed

    def _read(self, name: str) -> Table:
        table = self.catalogue.table(self.schema, name)
        require_rights(self.source, self.catalogue, table, HELPER_RIGHTS)
        return table

    @property
    def columns(self) -> HelperColumns:
        """What the helper table has beside the key."""
        return {**self.layout.labels, **self.layout.hidden}

    def creating(self, there: Collection[str]) -> Iterator[str]:
        """The statements that create the helper table, and its part tables, as far as they are not there."""
        define = self.source.definitions
        if self.name not in there:
            yield from define.create_helper(self.table, self.schema, self.name, self.columns, self._comment_over(""))
            if self.layout.times:
                yield from define.note_flags(self.schema, self.name, self.table.primary_key)
        for part in self.parts:
            if part not in there:
                yield from define.create_helper_part(self.table, self.schema, part, self.name)

    def _require_served(self, helper: Table) -> None:
        # Two copies behind one hold: the first to delete would release it for both.
        told = read(helper.comment)
        if self.serves.take_over:
            return
        if self.serves.is_meant_by(told):
            if self.serves.number is None:
                self.serves.adopt(told)
            return
        spec, said = self.spec, f', and says: "{shown(told.words, 300)}"' if told.words else "."
        raise HelperMismatchError(
            f"The helper table {helper.schema}.{helper.name} on the source server {self.source.address} serves "
            f"another local table than {spec.local_schema}.{spec.table_name} on {self.local.address}{said}",
            f"{self.layout.elsewhere} If that table is this one, moved or restored, or is gone for good, say so once: "
            f"{spec.way_to_say_moved}",
        )

    def _comment_over(self, comment: str) -> str:
        return self.session.remark(self.serves.comment_over(comment))

    def _tell(self, helper: Table) -> None:
        """Let the helper table say whom it serves: one made by an earlier version, or by hand, does not, or else."""
        serves = self.serves
        if serves.may_be_copy and not serves.take_over:
            return
        if serves.number and not serves.take_over and self._comment_over(helper.comment) == helper.comment:
            return
        # Others may just have told it of another table.
        if self.catalogue.reserve(self.schema):
            self.catalogue.renew(self.schema)
        comment = self._read(self.name).comment
        self._require_served(replace(helper, comment=comment))
        serves.get_number()
        wanted = self._comment_over(comment)
        if wanted == comment:
            return
        told_before, serves.told = serves.told, True
        try:
            for statement in self.source.definitions.comment_on(self.schema, self.name, wanted):
                self.session.execute(statement)
        except UnreachableError:
            raise
        except LinkError as error:
            serves.told = told_before
            if serves.take_over and not serves.adopt(read(comment)):
                hint = self.source.grant_helper_hint(self.schema, self.name)
                raise type(error)(
                    f"The helper table {self.schema}.{self.name} on the source server {self.source.address} cannot be "
                    f"told that it serves this table: {error.what}",
                    hint if isinstance(error, PrivilegeError) else "Try again when nobody works on the link.",
                ) from error
            logger.info("%s: the helper table cannot be told whom it serves: %s", self.spec.class_name, error.what)

    def _require_all_rows(self, helper: Table) -> None:
        # Its rows are kept from others than its owner: a hold would not be released, without an error.
        if self.catalogue.hides_rows(helper):
            raise PrivilegeError(
                f"The helper table {self.schema}.{self.name} on the source server {self.source.address} is not the "
                f"link user's ({self.source.user!r}), and keeps its rows from all others.",
                f"As administrator of {self.source.address}: "
                f"{self.source.rights.owning(self.schema, [self.name, *self.parts], self.source.facts.account)}",
            )

    def _completed(self, helper: Table) -> Table:
        """Add the columns that a helper table made by an older program lacks, where there is no doing without them."""
        needed = {c: labels for c, labels in self.layout.labels.items() if c not in helper.names}
        if not needed:
            return self._timed(helper)
        added = {**needed, **{c: labels for c, labels in self.layout.hidden.items() if c not in helper.names}}
        try:
            for statement in self.source.definitions.add_columns(helper.schema, helper.name, added):
                self.session.execute(statement)
        except PrivilegeError as error:
            raise PrivilegeError(
                f"The helper table {helper.schema}.{helper.name} on the source server {self.source.address} was made "
                f"by an older program, and the columns {', '.join(needed)} cannot be added: {error.what}",
                "The account needs all rights on the outbound schema and its tables; where tables have owners, own it.",
            ) from error
        except UnreachableError:
            raise
        except ServerError:
            # Another process may just have done the same.
            self.catalogue.renew(self.schema)
            if not set(needed) <= set(self._read(helper.name).names):
                raise
        self.catalogue.renew(self.schema)
        return self._read(helper.name)

    def _timed(self, helper: Table) -> Table:
        """Add the columns with times to a helper table that lacks them, where the account may: it is served as well."""
        if set(self.layout.times) <= set(helper.names):
            return helper
        define = self.source.definitions
        try:
            if self.catalogue.reserve(self.schema):
                self.catalogue.renew(self.schema)
            self.session.execute(define.impatiently)
            there = self._read(helper.name)
            if missing := [column for column in self.layout.times if column not in there.names]:
                added = define.add_columns(helper.schema, helper.name, dict.fromkeys(missing))
                with self.session.transaction():
                    for statement in (*added, *define.note_flags(helper.schema, helper.name, helper.primary_key)):
                        self.session.execute(statement)
        except UnreachableError:
            raise
        except LinkError as error:
            logger.info("%s: the helper table gets no columns with times: %s", self.spec.class_name, error.what)
        self.catalogue.renew(self.schema)
        return self._read(helper.name)


class _Creation:
    """Creates helper tables of one schema, as far as they are missing."""

    def __init__(self, source: Site, catalogue: Catalogue, schema: str, missing: Sequence[_Provider]) -> None:
        self.source, self.catalogue, self.schema, self.missing = source, catalogue, schema, missing
        self.session = catalogue.session

    def create(self) -> None:
        """Create them, all at once where the server can."""
        tables = [name for each in self.missing for name in (each.name, *each.parts)]
        require_names(self.source, self.schema, *tables)
        # The others wait, and find the schema and its types there.
        self.catalogue.reserve(self.schema)
        with self.catalogue.changing(self.schema):
            self._create(tables)

    def _create(self, tables: Sequence[str]) -> None:
        serves = [each.serves for each in self.missing]
        undoing = Undoing(self.source, self.catalogue, self.schema, tables, self.missing[0].columns)

        def undo() -> None:
            undoing.undo()
            for each in serves:
                each.told = False

        serves[0].undo = undo
        for each in serves:
            # What was let go of by another helper table is known there by the number that it had.
            each.get_number(anew=each.tie is None)
            each.told = True
        try:
            self._run(tables, undoing)
        except UnreachableError:
            raise
        except (PrivilegeError, ServerError) as error:
            # Another process may just have done the same.
            failed = [each for each in self.missing if not each.is_there]
            for one in failed:
                one.serves.told = False
            if failed:
                raise self._failure(failed[0].name, error) from error

    def _failure(self, name: str, error: PrivilegeError | ServerError) -> LinkError:
        what = f"Cannot create the helper table {self.schema}.{name} at the source: {error.what}"
        if isinstance(error, PrivilegeError):
            return PrivilegeError(what, self.source.grant_helper_hint(self.schema, name))
        if isinstance(error, ReadOnlyError):
            return ReadOnlyError(what, error.hint)
        return DefinitionError(what)

    def _run(self, tables: Sequence[str], before: Undoing) -> None:
        if not before.had_schema:
            self.session.execute(self.source.definitions.create_schema(self.schema))
        if self.catalogue.may_create(self.schema, tables):
            foretell_origins(self.source, self.catalogue, self.schema, [each.beside for each in self.missing])
        statements = [list(each.creating(before.there)) for each in self.missing]
        if self.session.takes_several or len(statements) < MANY:
            self.session.execute_together([statement for some in statements for statement in some])
        else:
            self._run_beside(statements)

    def _run_beside(self, statements: Sequence[Sequence[str]]) -> None:
        """Run each table's statements by one of several sessions: over a long wire each takes its time."""
        with ThreadPoolExecutor(CREATORS, "link-creator") as pool, contextlib.ExitStack() as stack:
            opened = list(pool.map(self._attempt_session, range(CREATORS - 1)))
            sessions = [self.session, *(stack.enter_context(contextlib.closing(each)) for each in opened if each)]

            def run(number: int) -> None:
                for some in statements[number :: len(sessions)]:
                    sessions[number].execute_all(some)

            list(pool.map(run, range(len(sessions))))

    def _attempt_session(self, _: int) -> Session | None:
        """One more session, if there is room for it."""
        try:
            return self.source.open()
        except ConnectionLimitError:
            return None


def require_rights(site: Site, catalogue: Catalogue, table: Table, rights: Sequence[str]) -> None:
    """Raise PrivilegeError, with the GRANT, where the account lacks a right on a table at the source."""
    missing = catalogue.missing_rights(table, rights)
    if missing:
        some = catalogue.held_on_columns(table, missing)
        partly = f" It has {' and '.join(some)} on some columns only." if some else ""
        raise PrivilegeError(
            f"The link user {site.user!r} lacks {' and '.join(missing)} on {table.schema}.{table.name} "
            f"on the source server {site.address}.{partly}",
            site.grant_hint(missing, table.schema, table.name) + site.role_hint(catalogue.idle_roles()),
        )


def require_names(site: Site, *names: str) -> None:
    """Raise ConfigError for a name that is too long for a server, or that would be another one there."""
    for name in names:
        if not site.dialect.fits(name):
            raise ConfigError(f"The name {name!r} is too long for the server {site.address}.")
        if site.facts.small_letters and name != name.lower():
            raise ConfigError(
                f"The server {site.address} writes all names of schemas and tables in small letters "
                f"(lower_case_table_names): DataJoint does not find {name!r} there.",
                f"Say {name.lower()!r}.",
            )


#: What to do about a table whose rows cannot be held.
_WITHOUT = "Its lab can change that; a pipeline's pull of other tables of its schema does without it: leave_out=."


def check_key(source: Table, layout: Layout) -> None:
    """Raise DefinitionError for a source table whose key leaves no room for the columns of a helper table."""
    if not source.primary_key:
        raise DefinitionError(
            f"The source table {source.schema}.{source.name} has no primary key: its rows cannot be told apart.",
            _WITHOUT,
        )
    taken = [name for name in source.primary_key if name.lower() in (*layout.labels, *layout.hidden)]
    if taken:
        raise DefinitionError(
            f"The primary key of the source table {source.schema}.{source.name} has the attribute {taken[0]}, which is "
            "a column of the helper table.",
            _WITHOUT,
        )


def find_helper(site: Site, catalogue: Catalogue, spec: LinkSpec, source: Table) -> Table | None:
    """The helper table of a link, if it is there by now; creates and changes nothing.

    Raises
    ------
    HelperMismatchError
        There is a table of that name which is no helper table of this link.
    PrivilegeError
        The account may not read it.
    """
    schema, name, layout = spec.find_helper_schema(), spec.helper_table, spec.layout
    if not {name, *(part_name(name, suffix) for suffix in layout.parts.values())} <= set(catalogue.tables(schema)):
        return None
    helper = catalogue.table(schema, name)
    require_rights(site, catalogue, helper, ("SELECT",))
    check_helper(site, source, helper, layout)
    return helper


def check_helper(site: Site, source: Table, helper: Table, layout: Layout) -> None:
    """Raise HelperMismatchError for a helper table that is not one of this source table in this layout."""
    visible = {c.name: c for c in helper.columns if not c.hidden}
    differences = [
        *_key_differences(source, helper),
        *(f"column {name}: missing" for name in layout.visible if name not in visible),
        *(
            f"column {name}: {visible[name].type}, expected enum{labels}"
            for name, labels in layout.visible.items()
            if name in visible and set(re.findall(r"'(.*?)'", visible[name].type)) != set(labels)
        ),
        *(f"column {name}: not expected" for name in visible if name not in (*source.primary_key, *layout.visible)),
    ]
    targets = list(_target_differences(source, helper))
    if differences or targets:
        hint = layout.elsewhere
        if not differences:
            refer = site.definitions.refer(helper, source)
            # A helper table in all else: what it held has been renamed, or was dropped together with the foreign key.
            hint += (
                " If the source table was renamed, dropped or rebuilt since, its rows are not held: the link user, or "
                f"an administrator there, lets the helper table refer to it by: {plain(refer)}. Where that is refused, "
                "it has helper rows without source rows, which go before: their holds mean nothing any more."
            )
        raise HelperMismatchError(
            f"The helper table {helper.schema}.{helper.name} (on the source server {site.address}) does not fit the "
            f"source table {source.schema}.{source.name}:\n    " + "\n    ".join([*differences, *targets]),
            hint,
        )


def widened_key(referred: Table, table: Table) -> tuple[Column, ...]:
    """The key columns of a helper table that cannot hold all keys of the table it refers to, as they would be."""
    return tuple(
        widened(table[name], referred[name]) for name in referred.primary_key if table[name].type != referred[name].type
    )


def _check_part(helper: Table, part: Table) -> None:
    differences = [*_key_differences(helper, part), *_target_differences(helper, part)]
    if differences:
        raise HelperMismatchError(
            f"The table {part.schema}.{part.name} at the source is no part table of {helper.name}:\n    "
            + "\n    ".join(differences)
        )


def _key_differences(referred: Table, table: Table) -> Iterator[str]:
    for name in referred.primary_key:
        if name not in table.names:
            yield f"column {name}: missing"
        elif table[name].type != referred[name].type and not widens(table[name].kind, referred[name].kind):
            yield f"column {name}: {table[name].type}, in the table {referred.name} {referred[name].type}"
    if set(table.primary_key) != set(referred.primary_key):
        yield f"primary key: ({', '.join(table.primary_key)}), expected ({', '.join(referred.primary_key)})"


def _target_differences(referred: Table, table: Table) -> Iterator[str]:
    targets = {(fk.schema, fk.table) for fk in table.foreign_keys}
    if (referred.schema, referred.name) not in targets:
        others = ", ".join(f"{s}.{t}" for s, t in sorted(targets)) or "no table"
        yield f"foreign key: refers to {others}, expected {referred.schema}.{referred.name}"
