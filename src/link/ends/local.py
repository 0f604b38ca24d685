"""The local end: the tables of several links declared together; all of it undone on an error."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from .. import host
from ..errors import ConfigError, LinkError, PrivilegeError, ReadOnlyError, UnreachableError, told_together
from ..holds.serving import Served
from ..model.mapping import Mapping
from ..model.schema import Table
from ..servers.catalogue import Catalogue
from ..servers.session import Session, lock_number
from ..servers.site import Site
from .declaration import Declaration, Order
from .identity import LINKS_TABLE
from .lineage import record_lineage

T = TypeVar("T")

logger = logging.getLogger("link")


@dataclass(frozen=True)
class Made(Generic[T]):
    """The local tables of one link.

    Attributes
    ----------
    mapping : Mapping
        The tables there and here.
    other : object
        What was made meanwhile.
    was_at : str or None
        Where the local data were last used, if that is another place than where they are.
    """

    mapping: Mapping
    other: T
    was_at: str | None


def declare(
    source: Site,
    local: Site,
    there: Catalogue,
    orders: Sequence[Order],
    meanwhile: Callable[[Sequence[Served]], Sequence[T]],
    known: Iterable[Table] = (),
    take_over: bool = False,
) -> list[Made[T]]:
    """Find the local tables for those of a source, or create them, all or none; compare them with the source's.

    Parameters
    ----------
    source, local : Site
        Both ends.
    there : Catalogue
        The source's.
    orders : sequence of Order
        What is asked for, of tables that others refer to first.
    meanwhile : callable
        Makes what else is to be made for each, while the local tables can still be taken back; it is given the local
        tables as helper tables know them.
    known : iterable of Table
        Local tables that are there to be referred to.
    take_over : bool
        Whether the local tables are at home where they are, and the helper tables their own, whatever was before.

    Raises
    ------
    LocalMismatchError
        Tables that are there do not fit. Nothing has been changed then.
    PrivilegeError
        They cannot be created.
    """
    with local.session() as session:
        # Several processes may well use classes of a schema for the first time at once: the others wait.
        schemas = sorted({order.spec.local_schema for order in orders})
        for schema in schemas:
            session.lock((lock_number(schema), 0), wait=True)
        catalogue, referred = local.catalogue_type(session), {(table.schema, table.name): table for table in known}
        if len(orders) > 1:
            catalogue.read(schemas)
        declarations = [Declaration(source, local, session, catalogue, referred, order) for order in orders]
        for theirs, ours in sorted({(each.spec.source_schema, each.spec.local_schema) for each in declarations}):
            _require_another_schema(source, local, theirs, ours)
        told_together(declaration.look for declaration in declarations)
        if take_over or any(declaration.creatable for declaration in declarations):
            for each in (there.session, session):
                each.require_changes()
        with _undone_on_error(local, session, catalogue, declarations) as created:
            new_schemas = set[str]()
            for declaration in declarations:
                try:
                    declaration.create(created, new_schemas)
                except PrivilegeError as error:
                    raise _with_all_grants(local, declarations, error) from error
            made = _make_meanwhile(declarations, meanwhile, created, take_over)
            if created:
                catalogue.renew(*schemas)
            for declaration in declarations:
                declaration.read_back()
        mappings = [declaration.mapping() for declaration in declarations]
        pairs = list(zip(declarations, mappings, strict=True))
        if new := [(each.spec, mapping) for each, mapping in pairs if each.creatable]:
            record_lineage(source, local, there, new)
        # Who has made them may have been killed before that.
        if untold := [(e.spec, m) for e, m in pairs if not e.renew_lineage() and e.spec.mirror and not e.creatable]:
            with contextlib.suppress(PrivilegeError, ReadOnlyError, host.AccessError):
                record_lineage(source, local, there, untold)
        triples = zip(declarations, mappings, made, strict=True)
        return [Made(mapping, other, each.was_at) for each, mapping, other in triples]


def _with_all_grants(local: Site, declarations: Sequence[Declaration], error: PrivilegeError) -> PrivilegeError:
    """The same, with the grants for all local schemas in which what is missing cannot be created."""
    wanted: dict[str, list[str]] = {}
    for each in declarations:
        wanted.setdefault(each.spec.local_schema, []).extend(table.name for table in each.creatable)
    with local.session() as session:  # another: that one may be in a transaction that has failed
        catalogue = local.catalogue_type(session)
        lacking = [schema for schema, names in wanted.items() if names and not catalogue.may_create(schema, names)]
    hints = dict.fromkeys([error.hint, *map(local.grant_schema_hint, lacking)])
    return PrivilegeError(error.what, "\n  → ".join(filter(None, hints)))


def _make_meanwhile(
    declarations: Sequence[Declaration],
    meanwhile: Callable[[Sequence[Served]], Sequence[T]],
    created: list[Table],
    take_over: bool,
) -> Sequence[T]:
    numbered = {each.spec.local_schema for each in declarations if LINKS_TABLE in each.wanted.there}
    served = [declaration.identify(numbered, take_over) for declaration in declarations]
    try:
        made = meanwhile(served)
        for declaration in declarations:
            declaration.bind()
    finally:
        created += [declaration.identity.made for declaration in declarations if declaration.identity.made]
    return made


def _require_another_schema(source: Site, local: Site, theirs: str, ours: str) -> None:
    if ours == theirs and source.is_server_of(local):
        raise ConfigError(
            f"The local schema {ours} is the source's own: both are on {source.address}.",
            "Link into a schema of another name.",
        )


@contextlib.contextmanager
def _undone_on_error(
    local: Site, session: Session, catalogue: Catalogue, declarations: Sequence[Declaration]
) -> Iterator[list[Table]]:
    """Take back what was created at both ends: by rolling back where the server can, by dropping where it cannot."""
    created: list[Table] = []  # not what another process has created at the same moment
    schemas = sorted({declaration.spec.local_schema for declaration in declarations})
    new = [schema for schema in schemas if not catalogue.has_schema(schema)]
    try:
        with session.transaction():
            yield created
    except BaseException:
        for serves in (declaration.serves for declaration in reversed(declarations)):
            if serves and serves.undo:
                with contextlib.suppress(LinkError):  # the source may be gone; its helper tables are empty
                    serves.undo()
        # Once the source knows a table by its number, that stays.
        told = {
            declaration.spec.local_schema
            for declaration in declarations
            if declaration.serves and declaration.serves.told
        }

        def take_back(session: Session, catalogue: Catalogue) -> None:
            for schema in schemas:
                catalogue.forget(schema)
            left = {schema: catalogue.tables(schema) for schema in schemas}
            for table in reversed(created):
                if table.name in left[table.schema] and not (table.name == LINKS_TABLE and table.schema in told):
                    session.execute(f"DROP TABLE {local.dialect.name_of(table)}")
            for schema in new:
                if catalogue.has_schema(schema) and not catalogue.tables(schema):
                    session.execute(f"DROP SCHEMA {local.dialect.quote(schema)}")

        try:
            take_back(session, catalogue)
        except UnreachableError:  # as Ctrl-C leaves a session in mid-statement
            session.close()
            with contextlib.suppress(UnreachableError), local.session() as another:
                for schema in schemas:
                    another.lock((lock_number(schema), 0), wait=True)
                take_back(another, local.catalogue_type(another))
        raise
