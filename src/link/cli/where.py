"""Where lab A's verbs go, and as whom: the server and the account that DataJoint itself has, unless it is said."""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ..accounts import Credentials
    from ..addresses import Address

#: What these verbs have in common.
Host = Annotated[
    str | None,
    typer.Option(
        help="Source server, as an account there: DJ_USER and DJ_PASS, or DataJoint's settings.  [default: DJ_HOST]"
    ),
]
Backend = Annotated[
    str | None,
    typer.Option(help="mysql (and MariaDB) or postgresql.  [default: mysql]", envvar="DJ_BACKEND"),
]
Database = Annotated[str | None, typer.Option(help="PostgreSQL: name of the database.")]
HelperSchema = Annotated[str, typer.Option(metavar="NAME", help="Schema with the helper tables of one link user.")]


@dataclass(frozen=True)
class Where:
    """A source server, and who goes there.

    Attributes
    ----------
    address : Address
        The server.
    administrator : Credentials
        The account.
    backend : str or None
        The kind of server, where it is said.
    """

    address: Address
    administrator: Credentials
    backend: str | None


def find(host: str | None, backend: str | None, database: str | None) -> Where:
    """The server that is said, or DataJoint's own, with the account."""
    from ..addresses import parse_host
    from ..config import require_backend
    from ..host import configured

    require_backend(backend)
    said = configured()
    if host is None and said.host is None:
        raise typer.BadParameter("Say which server: --host, or DJ_HOST, or DataJoint's settings.")
    address = parse_host(host if host is not None else said.host or "")
    if host is None:
        address = replace(address, port=address.port or said.port, database=address.database or said.database)
    return Where(replace(address, database=database or address.database), administrator(), backend or said.backend)


def administrator() -> Credentials:
    """DataJoint's own account; what is not set is asked for."""
    from ..accounts import Credentials
    from ..errors import CredentialsError
    from ..host import configured

    said = configured()
    try:
        # Prompts go to stderr, so that what is printed can be redirected into a file.
        user = said.user or typer.prompt("Administrator", err=True)
        password = said.password or typer.prompt(f"Password of {user}", hide_input=_is_seen(), err=True)
    except typer.Abort:
        if sys.stdin.isatty():
            raise
        raise CredentialsError(
            "Neither DJ_USER and DJ_PASS nor DataJoint's settings name the account at the source, and nobody can be "
            "asked.",
            "Set DJ_USER and DJ_PASS.",
        ) from None
    told_by = "DataJoint's settings" if said.password and not os.environ.get("DJ_PASS") else "DJ_USER and DJ_PASS"
    return Credentials(user, password, "administrator", told_by)


def _is_seen() -> bool:
    """Whether what is typed is seen; through a pipe nobody types, and Python would warn that it cannot be hidden."""
    with contextlib.suppress(OSError):
        os.close(os.open("/dev/tty", os.O_RDWR | getattr(os, "O_NOCTTY", 0)))
        return True
    return sys.stdin.isatty()
