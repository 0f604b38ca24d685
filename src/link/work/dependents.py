"""The local rows that depend on some entities of linked tables: which they are, and deleting what can be made anew.

Rows of computed and imported tables can be made anew by ``populate()``; all others, and those of linked tables, are
never deleted. So a computed row stays to which such a row refers, be it through others. In a linked table itself
``populate()`` may have made rows here, as in one of a pipeline: those that nobody holds. They are made as others are.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from .. import host
from ..ends.ends import Ends
from ..ends.identity import linked_in
from ..errors import DefinitionError, LinkError, PrivilegeError
from ..holds.holds import Holds
from ..model.dependents import Dependents
from ..model.keys import as_datajoint
from ..model.ranges import Key, Range
from ..model.schema import Column, ForeignKey, Table, part_names, tier, with_master_keys
from ..servers.keyed import Keyed, Segment, batches
from ..servers.session import Session
from ..servers.stale import Stale
from ..signals import BusyError, final
from .comparing import FEW

#: The tiers whose rows can be made anew.
MADE = ("computed", "imported")


@dataclass(frozen=True)
class Pulled:
    """A linked table in which ``populate()`` may have made rows here: the master, its key, and who holds the others."""

    master: tuple[str, str]
    key: tuple[Column, ...]
    holds: Holds


def also_made_here(ends: Iterable[Ends]) -> tuple[Pulled, ...]:
    """Those of some links' tables in which ``populate()`` may have made rows."""
    return tuple(
        Pulled((master.schema, master.name), each.mapping.local_key, each.holds)
        for each in ends
        if tier((master := each.mapping.local.master).name) in MADE
    )


@dataclass(eq=False)
class Node:
    """One table that depends on linked ones, or one of these itself.

    Attributes
    ----------
    is_own : bool
        Whether it is of the linked tables themselves, parts included.
    is_linked : bool
        Whether it is of a linked table.
    is_pulled : bool
        Whether those of its rows, and only those, are looked for that were made here: others are held.
    stale : Stale
        Where keys of its rows are listed, if it has a primary key.
    master : Node or None
        Of a part its master, and ``master_key`` the columns that hold its key.
    """

    table: Table
    name: str
    tier: str
    is_own: bool
    is_linked: bool
    stale: Stale
    master: Node | None = None
    master_key: tuple[str, ...] = ()
    is_pulled: bool = False
    children: list[tuple[Node, ForeignKey]] = field(default_factory=list)

    @property
    def is_listed(self) -> bool:
        """Whether its rows can be told apart."""
        return bool(self.table.primary_key)

    @property
    def is_made(self) -> bool:
        """Whether rows of it can be made anew."""
        return self.tier in MADE and (self.is_pulled or not self.is_linked) and self.is_listed


class Descent:
    """The tables that depend on linked ones, and in temporary tables the keys of those rows that are looked for.

    Parameters
    ----------
    links : sequence of Ends
        Both ends of each link; only the local one is asked, which is the same of all.
    session : Session
        On the local server; the temporary tables live as long as it does.
    home : callable
        Has a session at the source, for when there is something to ask there.
    pulled : sequence of Pulled, optional
        Linked tables from that source of which rows that were made here are looked for.

    Raises
    ------
    PrivilegeError
        The account may not make temporary tables.

    Attributes
    ----------
    nodes : list of Node
        The tables; what depends on others stands behind them.
    """

    def __init__(
        self,
        links: Sequence[Ends],
        session: Session,
        home: Callable[[], Session],
        pulled: Sequence[Pulled] = (),
    ) -> None:
        self.links = links
        self.home = home
        self.site = links[0].local
        self.session = session
        self._own = {(table.schema, table.name) for ends in links for table in ends.mapping.local.tables}
        for schema in sorted({schema for schema, _ in self._own}):
            host.know_schema(self.site.connection, schema)
        with self.site.in_one_session(), self.site.uncut():
            names = host.dependents(self.site.connection, sorted(self._own))
        catalogue = self.site.catalogue_type(session)
        self._linked = {schema: linked_in(session, schema) for schema in dict.fromkeys(schema for schema, _ in names)}
        self.nodes = [self._node(catalogue.table(*name), n, names) for n, name in enumerate(names)]
        self._by_name = {(node.table.schema, node.table.name): node for node in self.nodes}
        self._listed = [node for node in self.nodes if node.is_listed]
        self._join()
        self._pulled = [(self._by_name[each.master], each) for each in pulled if each.master in self._by_name]
        for master, _ in self._pulled:
            for node in self.nodes:
                node.is_pulled |= master in (node, node.master)
        self._made = [node for node in self.nodes if node.is_made]
        self._create()

    @property
    def _beside(self) -> str:
        """The schema beside whose tables the temporary ones are."""
        return self.links[0].mapping.local.master.schema

    def _node(self, table: Table, number: int, names: Sequence[tuple[str, str]]) -> Node:
        beside = [name for schema, name in names if schema == table.schema]
        linked = self._linked[table.schema]
        is_own = (table.schema, table.name) in self._own
        return Node(
            table,
            host.full_name(self.site.connection, table.schema, table.name),
            tier(table.name, beside),
            is_own,
            is_own or any(table.name == master or table.name in part_names(master, beside) for master in linked),
            Stale(self.site.definitions, table, self._beside, number),
        )

    def _join(self) -> None:
        """Let the nodes know one another."""
        for node in self.nodes:
            for fk in node.table.foreign_keys:
                if parent := self._by_name.get((fk.schema, fk.table)):
                    parent.children.append((node, fk))
        for master in self.nodes:
            beside = [node.table.name for node in self.nodes if node.table.schema == master.table.schema]
            parts = [self._by_name[master.table.schema, name] for name in part_names(master.table.name, beside)]
            try:
                group = with_master_keys(master.table, [part.table for part in parts])
            except DefinitionError:
                continue  # their names begin alike, and that is all
            for part, table in zip(parts, group.parts, strict=True):
                part.master, part.master_key = master, table.master_key

    def _create(self) -> None:
        for node in self._listed:
            for statement in node.stale.creation:
                try:
                    self.session.execute(statement)
                except PrivilegeError as error:
                    raise PrivilegeError(
                        f"To find what depends on {self.links[0].name} temporary tables are made beside the local "
                        f"ones: {error.what}",
                        self.site.grant_temporary_hint(self._beside),
                    ) from error

    def find(self, *seeds: Sequence[Key]) -> None:
        """List all rows that depend on some entities, of each link some; of parts that do the whole groups."""
        for node in self._listed:
            self.session.execute(node.stale.emptying)
        for ends, keys in zip(self.links, seeds, strict=True):
            rows = Keyed(self.site.dialect, ends.mapping.local.master, ends.mapping.local_key)
            for batch in batches(keys):
                self.session.execute(*self._own_node(ends).stale.adding(rows, batch))
        while True:
            for node in self._listed:
                for child, fk in node.children:
                    if child.is_listed:
                        self.session.execute(child.stale.following(node.stale, fk))
            if not self._gather():
                break
        self._strike_out_held(seeds)

    def _strike_out_held(self, seeds: Sequence[Sequence[Key]]) -> None:
        """List, of linked tables with rows that were made here, those alone."""
        for ends, keys in zip(self.links, seeds, strict=True):
            node = self._own_node(ends)
            if node.is_pulled:
                self._strike_out(node, ends.mapping.local_key, keys)
        for node, pulled in self._pulled:
            for keys, held in self._held(node, pulled):
                self._strike_out(node, pulled.key, [key for key in keys if key in held])
        for node in self._made:
            if node.is_pulled and node.master:
                self.session.execute(node.stale.staying_with(node.master.stale, node.master_key))

    def _held(self, node: Node, pulled: Pulled) -> Iterator[tuple[Sequence[Key], set[Key]]]:
        """The listed keys, so many at a time, and which of them somebody holds."""
        for keys in _batches(self.session, node.stale.listed_by(pulled.key)):
            yield keys, pulled.holds.helper.existing(self.home(), keys)

    def _own_node(self, ends: Ends) -> Node:
        own = ends.mapping.local.master
        return self._by_name[own.schema, own.name]

    def _strike_out(self, node: Node, key: Sequence[Column], keys: Sequence[Key]) -> None:
        for batch in batches(keys):
            self.session.execute(*node.stale.striking_out(key, batch))

    def _gather(self) -> bool:
        """List the masters of listed part rows; whether there are some that were not listed."""
        found = False
        for part in self._listed:
            # Of a single link all masters are listed whose part rows can be.
            if part.master and part.master.is_listed and not (part.is_own and len(self.links) == 1):
                before = self._count(part.master)
                self.session.execute(part.master.stale.gathering(part.stale, part.master_key))
                found |= self._count(part.master) > before
        return found

    def _count(self, node: Node) -> int:
        return int(self.session.query(node.stale.counting)[0][0])

    def strike_out(self, *seeds: Sequence[Key]) -> None:
        """List no more the entities that rows were sought for, of each link some."""
        for ends, keys in zip(self.links, seeds, strict=True):
            self._strike_out(self._own_node(ends), ends.mapping.local_key, keys)

    def entities(self) -> dict[str, int]:
        """How many rows of each table are listed, linked ones included, by full names; parts go with their masters."""
        return {node.name: self._count(node) for node in self._listed if node.master is None}

    def counts(self) -> dict[str, int]:
        """How many rows of each table are listed, by full names: those first that can be made anew."""
        shown = [node for node in self._listed if node.is_made or not node.is_linked]
        return {node.name: self._count(node) for node in sorted(shown, key=lambda node: not node.is_made)}

    def spare(self) -> int:
        """Strike out, of what can be made anew, the rows to which others refer that stay; how many."""
        before = sum(map(self._count, self._made))
        again = True
        while again:
            for node in reversed(self._made):
                for child, fk in node.children:
                    going = child.stale if child.is_made else None
                    self.session.execute(node.stale.sparing(child.table, fk, going))
            # A group goes whole or not at all; and what its parts refer to stays with them.
            again = False
            for part in self._made:
                if part.master:
                    again |= self.session.execute(part.stale.staying_with(part.master.stale, part.master_key)) > 0
        return before - sum(map(self._count, self._made))

    def made(self) -> dict[str, int]:
        """How many rows are listed of each table whose rows can be made anew."""
        return {node.name: self._count(node) for node in self._made}

    def delete(self) -> dict[str, int]:
        """Delete the listed rows that can be made anew, what depends on others first; how many of which table.

        Raises
        ------
        BusyError
            Somebody has begun to pull such a row.
        """
        gone = {node.name: self.session.execute(node.stale.deletion) for node in reversed(self._made)}
        for node, pulled in self._pulled:
            if any(held for _, held in self._held(node, pulled)):
                raise BusyError(f"{node.name}: rows were pulled that were about to be deleted.", "Try again.")
        return {name: gone[name] for name in reversed(gone) if gone[name]}


def dependents_of(
    found: Sequence[tuple[Ends, Sequence[Key]]], is_all: bool = False, pulled: Callable[[], Sequence[Pulled]] = tuple
) -> Dependents:
    """What depends here on some entities of each of some links, looked up when it is asked.

    Parameters
    ----------
    found : sequence of tuple
        Both ends of each link, and the entities.
    is_all : bool
        Entities of linked tables as well, and no part rows: what would be deleted with these.
    pulled : callable, optional
        Has the linked tables of which rows that were made here are told, too.
    """

    def look(stack: ExitStack) -> Descent:
        ends = found[0][0]
        session = stack.enter_context(closing(ends.local.open()))
        home = cache(lambda: stack.enter_context(closing(_opened(ends))))
        descent = Descent([ends for ends, _ in found], session, home, pulled())
        descent.find(*(keys for _, keys in found))
        if is_all:
            descent.strike_out(*(keys for _, keys in found))
        return descent

    def count() -> dict[str, tuple[str, int]]:
        with final(), ExitStack() as stack:
            descent = look(stack)
            tiers = {node.name: node.tier for node in descent.nodes}
            counts = descent.entities() if is_all else descent.counts()
            return {name: (tiers[name], number) for name, number in counts.items()}

    def read(name: str) -> Iterator[dict[str, Any]]:
        with final(), ExitStack() as stack:
            descent = look(stack)
            node = next(node for node in descent.nodes if node.name == name)
            for key in itertools.chain.from_iterable(_batches(descent.session, node.stale.keys)):
                values = zip(node.table.key_columns, key, strict=True)
                yield {column.name: as_datajoint(column, value) for column, value in values if not column.hidden}

    return Dependents(count, read)


def _opened(ends: Ends) -> Session:
    """A session at the source."""
    try:
        return ends.source.open()
    except LinkError as error:
        what = f"Which rows of pulled tables were made here is asked of the source: {error.what}"
        raise type(error)(what, error.hint) from error


def _batches(session: Session, listed: Keyed) -> Iterator[Sequence[Key]]:
    """The keys that are listed, in order; so many at a time are in memory."""
    after: Key | None = None
    while keys := Segment(listed, Range(after)).keys(session, FEW):
        yield keys
        after = keys[-1]
