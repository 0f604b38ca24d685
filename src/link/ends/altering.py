"""Widening the local tables, and the helper table's key, to what the source's tables have become; and comments."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace

import datajoint as dj

from ..errors import LinkError, LocalMismatchError, PrivilegeError, UnreachableError
from ..holds.helper import widened_key
from ..host import agrees
from ..model.kinds import marker
from ..model.mapping import Differences
from ..model.schema import Column, part_name
from ..servers.catalogue import Catalogue
from ..servers.dialect import plain
from ..servers.keyed import Keyed, Segment
from ..servers.session import Session, lock_number
from .ends import Ends
from .lineage import record_lineage

logger = logging.getLogger("link")


def alter(ends: Ends, prompt: bool) -> bool:
    """Add columns and part tables that are missing, and widen columns that are narrower than the source's.

    Comments get the markers that DataJoint needs to know what is in their columns. Nothing is narrowed, or dropped.

    Parameters
    ----------
    prompt : bool
        Show the statements and ask.

    Returns
    -------
    bool
        Whether something was altered.

    Raises
    ------
    LocalMismatchError
        What is in a column is not what its comment would say, or a change would take from it what is not known here;
        nothing has been done. Or a server refuses a statement;
        those before it have been done.
    """
    ends.require_no_transaction("alter of")
    ends.require_home("alter of")
    with ends.source.session() as there, ends.local.session() as here:
        for session in (there, here):
            session.require_changes()
        here.lock((lock_number(ends.spec.local_schema), 0), wait=True)
        _require_true(ends, here)
        steps = [*((there, sql) for sql in _at_source(ends, there)), *((here, sql) for sql in _here(ends, here))]
        shown = "\n".join(f"-- on {session.address}\n{plain(sql)};" for session, sql in steps)
        stays = [line for different in ends.mapping.differences if different.stops_pulls for line in different.lines]
        if stays:
            logger.warning("%s: what would narrow or drop a column is left to you: %s", ends.name, "; ".join(stays))
        elif not steps and prompt:
            dj.logger.warning("Nothing to alter.")
        if not steps or (prompt and not agrees(f"{shown}\n\nExecute?")):
            return False
        for session, sql in steps:
            _execute(ends, session, sql)
        record_lineage(ends.source, ends.local, ends.source.catalogue_type(there), [(ends.spec, ends.mapping)])
    return True


def _require_true(ends: Ends, session: Session) -> None:
    """Raise LocalMismatchError where bytes in a local column are not what its comment shall say.

    They arrived when nobody looked at them.
    """
    dialect = ends.local.dialect
    for different in ends.mapping.differences:
        rows = Keyed(dialect, different.found)
        for column in (*different.widened, *different.remarked):
            if column.content is None or column.comment == different.found[column.name].comment:
                continue
            reference = dialect.field(different.found, column)
            others = f"{reference} IS NOT NULL AND NOT ({dialect.is_as(column.content.what, reference)})"
            found = session.query(f"SELECT {rows.selected} FROM {rows.name} WHERE {others} LIMIT 1")
            if found:
                raise LocalMismatchError(
                    f"{different.found.schema}.{different.found.name} on {session.address}, "
                    f"{dict(zip(rows.names, found[0], strict=True))}: {column.content.refusal}. Its comment shall "
                    f"not say {marker(column.comment) or 'that they are bytes'} of it, so nothing has been altered.",
                    f"{column.content.remedy} Or delete such rows here: they are not pulled any more.",
                )


def _execute(ends: Ends, session: Session, sql: str) -> None:
    try:
        session.execute(sql)
    except (PrivilegeError, UnreachableError):
        raise
    except LinkError as error:
        raise LocalMismatchError(
            f"The tables of {ends.name} cannot all be altered, {session.address} refuses: {plain(sql)}\n{error.what}",
            "A column that foreign keys refer to may have to wait until what depends on it is gone.",
        ) from error


def _at_source(ends: Ends, session: Session) -> Iterator[str]:
    helper, catalogue = ends.helper, ends.source.catalogue_type(session)
    for name in (helper.name, *(part_name(helper.name, suffix) for suffix in ends.spec.layout.parts.values())):
        table = catalogue.table(helper.schema, name)
        narrow = widened_key(ends.mapping.source.master, table)
        yield from ends.source.definitions.alter_table(table, changed=narrow)


def _here(ends: Ends, session: Session) -> Iterator[str]:
    define, catalogue = ends.local.definitions, ends.local.catalogue_type(session)
    for different in ends.mapping.differences:
        added = _added(different, catalogue) if different.added else ()
        changed = (*different.widened, *different.remarked)
        if lost := catalogue.lost(different.found, changed):
            raise LocalMismatchError(
                f"Columns of {different.found.schema}.{different.found.name} on {session.address} have what alter() "
                f"would take from them: {'; '.join(lost)}.",
                "Change them yourself, and keep it: "
                + plain("; ".join(define.alter_table(different.found, changed=changed))),
            )
        yield from define.alter_table(different.found, added, changed)
    for table in ends.mapping.lacking:
        yield from define.create_table(catalogue.creatable(table))


def _added(different: Differences, catalogue: Catalogue) -> list[Column]:
    """The columns to add; of rows that are there is not known what they have at the source."""
    filled = Segment(Keyed(catalogue.dialect, different.found)).key_at(catalogue.session, 0) is not None
    creatable = catalogue.creatable(different.expected)
    columns = (creatable[column.name] for column in different.added)
    return [replace(column, nullable=column.nullable or (filled and column.default is None)) for column in columns]
