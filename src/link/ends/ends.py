"""Both ends of one link, as they are once they have been found, checked and declared."""

from __future__ import annotations

from dataclasses import dataclass

from ..config import LinkSpec
from ..errors import TransactionError
from ..files.routes import Routes
from ..holds.holds import Holds
from ..model.mapping import Mapping
from ..servers.site import Site


@dataclass(frozen=True)
class Ends:
    """What an operation on a link works with.

    Attributes
    ----------
    spec : LinkSpec
        What the link was given.
    source, local : Site
        The servers.
    mapping : Mapping
        The tables there and here.
    holds : Holds
        The helper table.
    routes : Routes
        Where the files of the source's stores go.
    """

    spec: LinkSpec
    source: Site
    local: Site
    mapping: Mapping
    holds: Holds
    routes: Routes

    @property
    def name(self) -> str:
        """What messages call the link."""
        return self.spec.class_name

    def require_no_transaction(self, what: str) -> None:
        """Raise TransactionError inside a transaction on the local connection."""
        if self.local.in_transaction():
            raise TransactionError(
                f"{what} {self.name} was called inside an open transaction on the local connection.",
                "Leave the transaction first: the source could not be told whether it commits.",
            )
