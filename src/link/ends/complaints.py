"""Why local tables do not fit the source's: in words, and what to do."""

from __future__ import annotations

from collections.abc import Sequence

from ..config import LinkSpec
from ..errors import LocalMismatchError
from ..model.kinds import marker
from ..model.mapping import Differences
from ..model.schema import Table
from ..servers.site import Site


def another_heading(local: Site, differences: Sequence[Differences], hint: str) -> LocalMismatchError:
    """The error that names every difference of some local tables."""
    tables = [
        f"The local table {different.found.schema}.{different.found.name} (on {local.address}) has another heading "
        "than the source table:" + "".join(f"\n    {line}" for line in different.lines)
        for different in differences
        if different.lines
    ]
    return LocalMismatchError("\n".join(tables), hint)


def _without_objects(local: Site, name: str, differences: Sequence[Differences]) -> LocalMismatchError | None:
    """The error that names columns with what DataJoint 0.x keeps of an object, in place of it, if there are any."""
    columns = [f"{d.found.schema}.{d.found.name}.{column.name}" for d in differences for column in d.hashes]
    if not columns:
        return None
    return LocalMismatchError(
        f"Local columns on {local.address} have the 16 bytes by which DataJoint 0.x finds an object in a store, and no "
        f"object: {', '.join(columns)}. A version of this package that did not know 0.x has made them.",
        f"Delete the rows here, {name}().delete(), which lets them go at the source; then {name}().drop(), and link "
        "again: the next pull copies the objects. drop() alone does as well, and lets go of whatever is still held.",
    )


def _unreadable(local: Site, differences: Sequence[Differences]) -> LocalMismatchError | None:
    """The error that names columns which the DataJoint that reads the local tables cannot read, if there are any."""
    columns = [
        f"{d.found.schema}.{d.found.name}.{c.name} ({marker(c.comment) or c.type})"
        for d in differences
        for c in d.unread
    ]
    if not columns:
        return None
    return LocalMismatchError(
        f"DataJoint 0.x, for which the link is (datajoint='0.x'), cannot read local columns on {local.address}: "
        f"{', '.join(columns)}.",
        "Link without datajoint='0.x', into the same tables; or with it, into another local schema, if the source has "
        "no such columns.",
    )


def _other_characters(local: Site, differences: Sequence[Differences]) -> LocalMismatchError | None:
    """The error that names a column for which its server would put other characters than there are, if there is one."""
    for different in differences:
        for column in different.unsound:
            wanted = different.expected[column.name].charset
            return LocalMismatchError(
                f"The local column {different.found.schema}.{different.found.name}.{column.name} on {local.address} is "
                f"in the character set {column.charset}, into which its server puts characters for others that are not "
                f"in it; the source's text comes in {wanted}.",
                f"Declare it in {wanted}, or rename the local table: it is then made anew.",
            )
    return None


def unfit(local: Site, spec: LinkSpec, differences: Sequence[Differences]) -> LocalMismatchError | None:
    """Why local tables cannot take rows whatever their types are, if that is so."""
    return (
        _without_objects(local, spec.class_name, differences)
        or _unreadable(local, differences)
        or _obstructed(local, differences)
        or _other_characters(local, differences)
    )


def _obstructed(local: Site, differences: Sequence[Differences]) -> LocalMismatchError | None:
    """The error that names a table which would not take rows whole, if there is one."""
    for different in differences:
        if different.obstacle:
            why, todo = different.obstacle
            table = f"{different.found.schema}.{different.found.name}"
            return LocalMismatchError(f"The local table {table} on {local.address} {why}.", f"Run {todo}")
    return None


def other_parts(master: Table, lacking: Sequence[Table], surplus: Sequence[str]) -> LocalMismatchError | None:
    """The error that names a part table which only one side has, if there is one."""
    if surplus:
        return LocalMismatchError(
            f"The local table {master.schema}.{master.name} has the part table {min(surplus)}, which the link "
            "user does not see at the source: it was dropped there, or is not granted (any more).",
            "Ask the source's administrator to grant SELECT, REFERENCES on it. If it is gone for good, drop it here.",
        )
    if lacking:
        return LocalMismatchError(
            f"The source has a part table {lacking[0].name} that the local table {master.schema}.{master.name} "
            "lacks, and rows are there already: their parts would be missing.",
            "alter() of the linked table makes the part table here. The rows that are here stay without their parts, "
            "and verify() names them, until they are deleted here and pulled again.",
        )
    return None


def complaint_of(
    local: Site, found: Sequence[Differences], lacking: Sequence[Table], surplus: Sequence[str]
) -> LocalMismatchError | None:
    """Why a link to these local tables, which take rows, shall not begin."""
    if any(different.lines for different in found):
        return another_heading(local, found, "Link into another local schema, or rename the local table.")
    return other_parts(found[0].expected, lacking, surplus) if found else None
