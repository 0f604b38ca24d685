"""What servers say of an account that they do not let in, and what is to be done about it. Pure text."""

from __future__ import annotations

import re

#: What to do where it is not known what a server has said.
UNKNOWN = (
    "{check} Or it is what the server says: an account that is not let in, or has no connection left; a database that "
    "is not there."
)
#: Signs in what a server says, and what to do.
_MEANINGS = (
    (
        r"\((1820|1862),",
        "The password has expired: ask the server's administrator for a new one (ALTER USER ... IDENTIFIED BY '...').",
    ),
    (r"account is locked", "The account is locked: ask the server's administrator (ALTER USER ... ACCOUNT UNLOCK)."),
    (r"not permitted to log in", "The role may not log in: ask the server's administrator (ALTER ROLE ... LOGIN)."),
    (
        r"pg_hba\.conf.*, no encryption",
        "The server's pg_hba.conf lets nobody in from here without encryption: leave out use_tls=False, or ask its "
        "administrator.",
    ),
    (
        r"pg_hba\.conf",
        "The server's pg_hba.conf lets the account in from other machines only, or with another encryption: ask its "
        "administrator.",
    ),
    (r"insecure transport|SSL required", "The server takes encrypted connections alone: leave out use_tls=False."),
    (
        r"authentication failed|no password supplied",
        "{check} The server says the same where the password has expired (VALID UNTIL).",
    ),
    (
        r"\((1045|1698),|access denied",  # whatever language the server says it in
        "{check} The server says the same where the account must use TLS or a certificate, or come from elsewhere.",
    ),
)


def said(error: Exception) -> str:
    """What a server or a driver said; PyMySQL's errors are shown as a pair of a number and that."""
    return str(error.args[-1] if len(error.args) == 2 else error).strip()


def remedy(said: str, check: str) -> str | None:
    """What to do where a server has said this to who wanted to come in; None where it means something else.

    ``check`` says what to look at where user or password may be wrong.
    """
    for signs, meaning in _MEANINGS:
        if re.search(signs, said, re.IGNORECASE):
            return meaning.format(check=check)
    return None
