"""Everything that can go wrong, as one tree.

::

    datajoint.DataJointError
    └── LinkError
        ├── ConfigError                 what was given to @link, or the environment
        │   ├── CredentialsError            LINK_USER / LINK_PASS missing
        │   └── StoreError                  a store is not named in ``stores=``, not configured, or fails
        ├── ServerError                 a server said no
        │   ├── UnreachableError            cannot connect, or the connection was lost
        │   │   └── EncryptionError             no TLS as it is asked for, or not with that server
        │   ├── LoginError                  wrong user or password
        │   ├── PrivilegeError              a right is missing; the GRANT is in the message
        │   ├── ConnectionLimitError        the server, or the account, has no connection left
        │   ├── LockedError                 another session has held the same rows for too long
        │   ├── ReadOnlyError               the server takes no changes, for a while or as a replica
        │   └── UnsupportedServerError      a version or backend this package does not speak; a pool, a replica
        ├── DefinitionError             tables that do not fit each other
        │   ├── NotFoundError               no such schema or table; the nearest names are in the message
        │   │   └── UnseenError                 or nothing of it is granted; it is a PrivilegeError, too
        │   ├── HelperMismatchError         the helper table belongs to another link
        │   ├── LocalMismatchError          the local table has another heading
        │   └── CycleError                  the source's tables stand on one another in a circle
        ├── TransactionError            called inside an open local transaction
        ├── ConflictError               local rows of the same keys that are not what the source has
        └── TransferError               rows that could not be moved; the entity stays Unshared
            └── LimitError                  more than ``max_rows=`` or ``max_bytes=`` allow; nothing was pulled

Every message says what happened, where (server, table, key) and what to do about it. No message holds a password.
"""

from __future__ import annotations

import itertools
import logging
import traceback
from collections.abc import Callable, Iterable
from types import FrameType

from datajoint import DataJointError


class LinkError(DataJointError):
    """Base of all errors of this package.

    Parameters
    ----------
    what : str
        What happened, and where.
    hint : str, optional
        What to do about it; printed on a line of its own.
    """

    def __init__(self, what: str, hint: str | None = None) -> None:
        super().__init__(what if hint is None else f"{what}\n  → {hint}")
        self.what = what
        self.hint = hint

    def _render_traceback_(self) -> list[str]:
        """What IPython shows of it, a notebook too: the caller's lines, and what is said; all of it at level DEBUG."""
        if logging.getLogger("datajoint").isEnabledFor(logging.DEBUG):
            return "".join(traceback.format_exception(self)).splitlines()
        frames = itertools.dropwhile(_of("IPython"), traceback.walk_tb(self.__traceback__))
        inside = _of("link", "dj_link", "datajoint")
        calls = traceback.StackSummary.extract(itertools.takewhile(lambda frame: not inside(frame), frames))
        return [*"".join(calls.format()).splitlines(), *f"{type(self).__name__}: {self}".splitlines()]

    def __reduce__(self) -> tuple[type[LinkError], tuple[str, str | None]]:
        # So that an error of a worker process arrives as it was.
        return type(self), (self.what, self.hint)


def _of(*packages: str) -> Callable[[tuple[FrameType, int]], bool]:
    """What tells whether a frame of a traceback is one of some packages."""
    return lambda frame: frame[0].f_globals.get("__name__", "").partition(".")[0] in packages


def told_together(attempts: Iterable[Callable[[], None]]) -> None:
    """Make several attempts, and raise all that is wrong as one error; a server that is away is told at once."""
    errors = list[LinkError]()
    for attempt in attempts:
        try:
            attempt()
        except UnreachableError:
            raise
        except LinkError as error:
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        kinds = {type(error) for error in errors}
        kind = kinds.pop() if len(kinds) == 1 else DefinitionError
        whats, hints = (
            list(dict.fromkeys(filter(None, told))) for told in zip(*((e.what, e.hint) for e in errors), strict=True)
        )
        raise kind("\n".join(whats), "\n  → ".join(hints) or None) from errors[0]


class ConfigError(LinkError):
    """What was given to ``@link``, or the environment, cannot be used."""


class CredentialsError(ConfigError):
    """The link user's credentials are missing."""


class StoreError(ConfigError):
    """A store is not named in ``stores=``, not configured, or refuses its service."""


class ServerError(LinkError):
    """A server refused."""


class UnreachableError(ServerError):
    """A server cannot be reached, or the connection to it was lost."""


class EncryptionError(UnreachableError):
    """A server offers no encryption, or cannot prove that it is the one that is meant."""


class LoginError(ServerError):
    """A server refused the user or the password."""


class PrivilegeError(ServerError):
    """The account lacks a right; the message holds the GRANT that gives it."""


class ConnectionLimitError(ServerError):
    """A server, or an account on it, has no connection left."""


class LockedError(ServerError):
    """Another session has held the same rows for longer than is waited for; nothing is lost, and it may be repeated."""


class ReadOnlyError(ServerError):
    """A server takes no changes: its administrator has said so, for a while or of a replica."""


class UnsupportedServerError(ServerError):
    """A server of a kind or version that this package does not speak, or one set up so that no link can work."""


class DefinitionError(LinkError):
    """Tables that do not fit each other."""


class NotFoundError(DefinitionError):
    """No such schema or table at the source."""


class UnseenError(NotFoundError, PrivilegeError):
    """No such schema or table, or none of its rights: servers that hide what is not granted do not tell which."""


class HelperMismatchError(DefinitionError):
    """The helper table has another structure, or holds rows of another source table."""


class LocalMismatchError(DefinitionError):
    """The local table has another heading than the source table."""


class CycleError(DefinitionError):
    """Tables at the source stand on one another in a circle: a foreign key has to be cut."""


class TransactionError(LinkError):
    """Called inside an open transaction on the local connection."""


class ConflictError(LinkError):
    """Rows are local and not held, and are not what the source has; of a pull with ``conflicts="raise"``."""


class TransferError(LinkError):
    """Rows could not be moved; what was pulled before stays pulled."""


class LimitError(TransferError):
    """A pull would bring more than its limits allow; nothing was pulled or held."""
