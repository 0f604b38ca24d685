"""Both ends of one link, as they are once they have been found, checked and declared."""

from __future__ import annotations

from dataclasses import dataclass

from ..config import LinkSpec
from ..errors import HelperMismatchError, TransactionError
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
    was_at : str or None
        Where the local data were last used, if that is another place than where they are now.
    """

    spec: LinkSpec
    source: Site
    local: Site
    mapping: Mapping
    holds: Holds
    routes: Routes
    was_at: str | None = None

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

    def require_home(self, what: str) -> None:
        """Raise HelperMismatchError where the local data may be a copy: two behind one hold would release it."""
        if self.was_at is not None:
            raise HelperMismatchError(
                f"{what} {self.name}: the local server looks like a copy of the one where the link was used. That was "
                f"({self.was_at}), this is ({self.local.facts.place}).",
                f"If it was moved, renamed or restored, say so once: {self.name}.source.moved(). If the other one is "
                "still used with this link, name another helper table here.",
            )
