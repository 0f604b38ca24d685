"""What somebody at a source chooses of a table whose rows are held, by a restriction as DataJoint takes it."""

from __future__ import annotations

from typing import Any, cast

from .. import host
from ..ends.browsing import read_heading
from ..errors import ConfigError, PrivilegeError, ServerError, UnreachableError
from ..model.graph import label
from ..model.ranges import ALL, Selection
from ..model.schema import Table
from ..selections import Selecting, selection_of, unreadable
from ..servers.keyed import Keyed, Segment
from ..servers.session import Session
from ..servers.site import Site
from ..signals import RowError


class _Rows(Selecting, host.FreeTable):
    """A table at the source."""

    @property
    def _title(self) -> str:
        return str(self.full_table_name)


def choose(site: Site, table: Table, where: Any) -> Selection:
    """The rows of a table that a restriction selects, which is anything that DataJoint takes; None for all of them.

    Raises
    ------
    ConfigError
        The restriction has none of the table's attributes, or is none.
    """
    if where is None:
        return ALL
    if isinstance(where, str) and not where.strip():
        raise unusable(table, "it is empty.")
    try:
        with site.in_our_words():
            rows: Any = cast(Any, _Rows)(site.connection, host.full_name(site.connection, table.schema, table.name))
            # Values are bound as what their columns are taken for, whichever DataJoint has declared them.
            host.set_heading(rows, read_heading(site, table))
            return selection_of(rows & where)
    except (ConfigError, PrivilegeError, UnreachableError):
        raise
    except host.DataJointError as error:
        raise unusable(table, str(error)) from error


def count(session: Session, table: Table, selection: Selection) -> int:
    """How many rows there are; what is wrong with the condition is told here, before anything is changed."""
    try:
        return Segment(Keyed(session.dialect, table)).where(*selection.conditions).count(session)
    except (PrivilegeError, UnreachableError):
        raise
    except (ServerError, RowError) as error:
        raise unusable(table, error.what) from error


def unusable(table: Table, said: str) -> ConfigError:
    """The error for a restriction of a table that cannot be used."""
    names = [column.name for column in table.columns if not column.hidden]
    return unreadable(label((table.schema, table.name)), names, said)
