"""What looking at the source shows: values as they would be once they are pulled, in DataJoint's words."""

from __future__ import annotations

from typing import Any

from .. import host
from ..errors import LinkError, PrivilegeError
from ..files import legacy
from ..files.objects import ObjectError, inspect_attachment
from ..model.kinds import marker
from ..model.schema import Column, Table
from ..servers.site import Site
from .lineage import origins

# DataJoint finds codecs by their names; with a blank in it, theirs is no name that a table or an adapter can have.


class PackedCodec(host.BlobCodec):
    """What a column without a marker has, taken for what DataJoint 0.x packs; bytes that it did not pack stay bytes."""

    name = "blob 0.x"

    def decode(self, stored: Any, *, key: dict[str, Any] | None = None) -> Any:
        content = bytes(stored)
        return super().decode(content, key=key) if content.startswith(legacy.HEADS) else content


class AttachmentCodec(host.AttachCodec):
    """An attachment of the source's: DataJoint writes it under its own name, which may not lead out of the folder.

    The folder is the one that ``dj.config`` names: the connection to the source has settings of its own.
    """

    name = "safe attach"

    def decode(self, stored: Any, *, key: dict[str, Any] | None = None, context: dict[str, Any] | None = None) -> str:
        content = bytes(stored)
        settings = host.settings_of_process()
        try:
            inspect_attachment(content, len(content))
            return str(super().decode(content, key=key, context={"config": settings} if settings else context))
        except (ObjectError, UnicodeDecodeError) as error:
            raise LinkError(
                f"An attachment at the source was not fetched: {error}.",
                "Leave its column out with proj(), or take it for bytes: codecs={'its_column': 'bytes'}.",
            ) from error


def read_heading(site: Site, table: Table) -> host.Heading:
    """DataJoint's heading of a source table, which tells where each attribute comes from."""
    with site.turn, site.in_our_words():
        heading = _load(site, table)
    show(heading, table)
    if not host.has_lineage(heading):
        # The account does not see what DataJoint has written down of it.
        with site.catalogue() as catalogue:
            host.set_lineage(heading, origins(catalogue, table, table.names))
    return heading


def _load(site: Site, table: Table) -> host.Heading:
    try:
        return host.load_heading(host.free_table(site.connection, table.schema, table.name))
    except LinkError:
        raise
    except host.DataJointError as error:
        raise PrivilegeError(
            f"DataJoint sees no columns of {table.schema}.{table.name} on {site.address} as {site.user!r}: "
            "it is gone from there, or not granted.",
            site.grant_hint(("SELECT", "REFERENCES"), table.schema, table.name),
        ) from error


def show(heading: host.Heading, table: Table) -> None:
    """Let DataJoint's heading of a source table say what its columns are taken for.

    What 0.x keeps in stores is not shown, but named: the 16 bytes that are there are no value.
    """
    in_stores = {column.name: marker(column.comment) for column in table.columns if column.tracked}
    host.hide(heading, in_stores.keys())
    if in_stores:
        named = ", ".join(f"{name} {declared}" for name, declared in in_stores.items())
        host.add_comment(heading, f"not shown, but pulled: {named}")
    for column in table.columns:
        if not column.hidden and not column.tracked:
            _show(heading, column)


def _show(heading: host.Heading, column: Column) -> None:
    special, kind = marker(column.comment), column.kind.name if column.kind else ""
    if special == "<blob>" and column.former is not None:
        host.take_for(heading, column.name, special, host.lookup_codec(PackedCodec.name)[0])
    elif special.startswith("<"):
        if host.is_codec_registered(special.strip("<>")):
            codec, store = host.lookup_codec(special)
            checked = host.lookup_codec(AttachmentCodec.name)[0] if type(codec) is host.AttachCodec else codec
            host.take_for(heading, column.name, special, checked, store)
    elif kind in ("uuid", "json"):
        host.take_for(heading, column.name, kind, kind=kind)
    elif kind == "bytes" or (column.former or "").startswith("<"):
        host.take_for(heading, column.name, column.type)
