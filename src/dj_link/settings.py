"""What the older interface says of a link, in words of :mod:`link`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from link.addresses import Address
from link.config import READERS, LinkSpec
from link.errors import ConfigError
from link.host import from_camel_case, use_tls_of_process
from link.model.layouts import DJ_LINK, Layout
from link.tls import parse_tls


@dataclass(frozen=True)
class OlderSpec(LinkSpec):
    """A link to an outbound table; in the schema that ``LINK_OUTBOUND`` names, where none is given."""

    layout: Layout = DJ_LINK

    def find_helper_schema(self) -> str:
        """The schema of the outbound table."""
        return self.helper_schema or outbound_schema()


def outbound_schema() -> str:
    """Read ``LINK_OUTBOUND``.

    Raises
    ------
    ConfigError
        It is not set.
    """
    name = os.environ.get("LINK_OUTBOUND")
    if not name:
        raise ConfigError(
            "The environment variable LINK_OUTBOUND is not set: the schema of the outbound tables at the source.",
            "In a shell: export LINK_OUTBOUND=...; in Python, before the first use: os.environ['LINK_OUTBOUND'] = ...",
        )
    return name


def older_spec(
    class_name: str,
    address: Address | None,
    source_schema: str,
    helper_schema: str | None,
    local_schema: str,
    stores: Mapping[str, str] | None = None,
    *,
    codecs: Mapping[str, str] | None = None,
    datajoint: str = READERS[0],
    parts_named: frozenset[str] = frozenset(),
    create_schema: bool = True,
    create_tables: bool = True,
) -> OlderSpec:
    """What the older interface says of a link, with its outbound table; the other arguments as for ``@link``."""
    return OlderSpec(
        class_name=class_name,
        address=address or Address(""),
        source_schema=source_schema,
        helper_schema=helper_schema or "",
        helper_table=from_camel_case(f"{class_name}Outbound"),
        local_schema=local_schema,
        store_pairs=tuple((stores or {}).items()),
        use_tls=parse_tls(use_tls_of_process()),
        codec_pairs=tuple((codecs or {}).items()),
        datajoint=datajoint,
        parts_named=parts_named,
        create_schema=create_schema,
        create_tables=create_tables,
    )


def swapped_stores(stores: Mapping[str, str] | None) -> dict[str, str]:
    """The stores of the older interface, which names the local one first, as ``@link`` has them.

    Raises
    ------
    ConfigError
        They cannot be mapped the other way round.
    """
    stores = {} if stores is None else stores
    if not _is_mapping_of_names(stores) or len(set(stores.values())) < len(stores):
        raise ConfigError('stores must map one name to one name: stores={"local_store": "source_store"}.')
    return {there: here for here, there in stores.items()}


def _is_mapping_of_names(stores: object) -> bool:
    return isinstance(stores, Mapping) and all(isinstance(n, str) for pair in stores.items() for n in pair)
