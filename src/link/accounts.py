"""Accounts at source servers: where user and password are found."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from .errors import CredentialsError


@dataclass(frozen=True)
class Credentials:
    """An account on the source server, the link user's unless it is said otherwise; the password never shows.

    ``role`` and ``told_by`` are for messages: what the account is, and where user and password were read.
    """

    user: str
    password: str = field(repr=False)
    role: str = "link user"
    told_by: str = "LINK_USER and LINK_PASS"


def credentials() -> Credentials:
    """Read ``LINK_USER`` and ``LINK_PASS``.

    Raises
    ------
    CredentialsError
        One of them, or both, are not set.
    """
    missing = [name for name in ("LINK_USER", "LINK_PASS") if not os.environ.get(name)]
    if missing:
        raise CredentialsError(
            f"The environment variable{'s' * (len(missing) > 1)} {' and '.join(missing)} "
            f"{'are' if len(missing) > 1 else 'is'} not set: the account of the link user on the source server.",
            "In a shell: export LINK_USER=... LINK_PASS=...; "
            "in Python, before the first use: os.environ['LINK_USER'] = ...",
        )
    return Credentials(os.environ["LINK_USER"], os.environ["LINK_PASS"])
