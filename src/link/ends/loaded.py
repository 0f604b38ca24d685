"""The links that this process has made: which of them a local table belongs to.

What is deleted here takes rows of other linked tables with it, and these are held as well, be it at another source.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from typing import Any, Protocol
from weakref import WeakValueDictionary

from .. import host
from ..config import LinkSpec
from ..errors import LinkError
from ..servers.site import Site
from ..servers.sites import site_of
from .ends import Ends


class Opening(Protocol):
    """The link of one local table."""

    spec: LinkSpec

    def open(self) -> Ends:
        """Both ends."""

    def forget(self) -> None:
        """Look at the tables again before they are used the next time."""


class Serving(Protocol):
    """What may know to which link a local table belongs."""

    def serving(self, local: Site, schema: str, table: str, is_linked: bool) -> Opening | None:
        """The link of a local table on a server, if it is one of these."""


#: As long as somebody else holds them, in the order in which they were made.
_made: WeakValueDictionary[int, Serving] = WeakValueDictionary()
_numbers = itertools.count()


def is_at(given: Any, local: Site) -> bool:
    """Whether an argument ``connection=`` stands for a connection to a server; connects nowhere else."""
    with contextlib.suppress(LinkError):
        here = host.connection_of(given) if given is not None else host.own_connection()
        return here is local.connection or (here is not None and site_of(here).facts.place == local.facts.place)
    return False


def enter(made: Serving) -> None:
    """Let something be found that serves local tables."""
    _made[next(_numbers)] = made


def serving(local: Site, schema: str, table: str, is_linked: bool) -> Iterator[Opening]:
    """The links of a local table on a server; those first that were made last, as in a notebook whose cells run again.

    Parameters
    ----------
    local : Site
        The server.
    schema, table : str
        The local table, a master.
    is_linked : bool
        Whether it is known to be a linked table, whosever it is.
    """
    for reference in reversed(_made.valuerefs()):
        made = reference()
        if made is not None and (found := made.serving(local, schema, table, is_linked)):
            yield found
