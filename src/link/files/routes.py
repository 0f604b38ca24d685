"""Which store of the source goes where: ``stores=`` of a link, by the settings of the local connection."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import datajoint as dj

from .. import host
from ..config import LocalStore, Reference, names_of
from ..errors import StoreError
from ..model.schema import Group, Table
from .columns import FileColumn, file_columns, stores_named
from .legacy import FOLDS


@dataclass(frozen=True)
class Route:
    """Where the objects of one source store are to be found here, and where they go.

    Attributes
    ----------
    source : str
        The name of the store in these settings by which the source's objects are read.
    local : str
        The name of the local store.
    referenced : bool
        Objects stay where they are: local rows point at them through the local store.
    spec : mapping
        The settings of the local store.
    folds : sequence of int
        How DataJoint 0.x makes folders of hashes in the source's store.
    """

    source: str
    local: str
    referenced: bool
    spec: Mapping[str, Any] = dataclasses.field(compare=False, repr=False)  # with keys that are secrets
    folds: Sequence[int] = dataclasses.field(default=FOLDS, compare=False)


@dataclass(frozen=True)
class Side:
    """One side of a link, for comparing stored values: is it the local one, in which stores do objects stay, and where
    do those of each of the source's stores go?"""

    local: bool
    stays: frozenset[str]
    token_length: int
    routes: Mapping[str, Route]


@dataclass(frozen=True)
class Routes:
    """The routes of one link, each made by the settings as they are when it is asked for.

    Attributes
    ----------
    connection : datajoint.Connection
        The local one, whose settings say where stores are.
    given : mapping
        What ``stores=`` gives for each store of the source.
    """

    connection: dj.Connection = dataclasses.field(repr=False)
    given: Mapping[str, LocalStore]

    @property
    def settings(self) -> dict[str, Any]:
        """The stores in DataJoint's settings of the local connection."""
        return host.stores(self.connection)

    @property
    def local_names(self) -> dict[str, str]:
        """The local store for each of the source's that ``stores=`` names."""
        return {store: self.route(store).local for store in self.given}

    @property
    def has_references(self) -> bool:
        """Whether objects of any store stay where they are."""
        return any(isinstance(store, Reference) for store in self.given.values())

    def require_configured(self) -> None:
        """Raise StoreError where ``stores=`` names what is not configured."""
        for store, given in self.given.items():
            local = names_of(store, given)[1]
            if local not in self.settings:
                raise StoreError(
                    f"The store {local!r} of stores= is not configured.",
                    f"Add it to dj.config.stores[{local!r}] (or datajoint.json), with protocol and location.",
                )

    def require_named(self, group: Group) -> None:
        """Raise StoreError where ``stores=`` leaves out what columns of the source name."""
        named = [pair for table in group.tables for pair in stores_named(table)]
        missing = [(store, column) for store, column in named if store not in self.given]
        if missing:
            lines = "".join(f"\n    {column}" for _, column in missing)
            raise StoreError(
                f"The source keeps files in stores that stores= does not name:{lines}",
                f"Say where they go: stores={{{missing[0][0] or 'default'!r}: 'local_store'}}, with both configured in "
                "dj.config.stores.",
            )
        for table in group.tables:
            for column in file_columns(table):
                if column.column.tracked and column.wanted == "attachment":
                    self._require_copied(table, column)

    def _require_copied(self, table: Table, column: FileColumn) -> None:
        if isinstance(self.given[column.store or ""], Reference):
            raise StoreError(
                f"{table.schema}.{table.name}.{column.name} is declared {column.declared} by DataJoint 0.x, which "
                "keeps attachments without their names: DataJoint 2 cannot read them where they are.",
                f"Let the objects of that store be copied: stores={{{column.store or 'default'!r}: 'local_store'}}.",
            )

    def route(self, store: str, named_in: str = "") -> Route:
        """Where the objects of one of the source's stores are, and where they go.

        ``named_in`` is the column whose values name it.

        Raises
        ------
        StoreError
            ``stores=`` does not name it, or the local store is not configured as it must be.
        """
        if store not in self.given:
            raise StoreError(
                f"Values of {named_in} name files in the source's store {store!r}, which stores= does not name.",
                f"Say where they go: stores={{{store or 'default'!r}: 'local_store'}}.",
            )
        given = self.given[store]
        source, local = names_of(store, given)
        local = self.settings["default"] if local == "default" else local
        try:
            spec = host.store_settings(self.connection, local)
        except host.DataJointError as error:
            raise StoreError(f"The store {local!r} cannot be used: {error}") from error
        return Route(source, local, isinstance(given, Reference), spec)

    def side(self, local: bool) -> Side:
        """One side of the link, for comparing stored values."""
        routes = {store: self.route(store) for store in self.given}
        stays = {route.local if local else store for store, route in routes.items() if route.referenced}
        length = min([8, *(int(route.spec.get("token_length", 8)) for route in routes.values())])
        return Side(local, frozenset(stays), max(4, length), routes)
