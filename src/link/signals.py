"""What modules tell one another, and no user: statements that failed and that somebody knows what to do about.

:func:`final` turns what nobody has taken up into an error of the tree in :mod:`link.errors`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .errors import DefinitionError, LinkError, LockedError, ServerError, TransferError


class RowError(LinkError):
    """A server refused rows: a duplicate key, a value out of range."""


class OrphanError(RowError):
    """A server refused rows for what they refer to, which is not there."""


class BusyError(LinkError):
    """Deadlock, lock timeout or serialization failure: the same statement may work a moment later."""


class ChangedError(LinkError):
    """Tables are not what they were when they were looked at; nothing has been done yet."""


class LostWorkerError(LinkError):
    """A worker has come to no end of its own: what it had sent a server last may still be done."""


@contextmanager
def final() -> Iterator[None]:
    """What a user calls is done in here: signals that nobody has taken up become errors of the tree."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt from None  # where in here it was is of no use to anybody
    except BusyError as error:
        raise LockedError(error.what, error.hint) from error
    except RowError as error:
        raise ServerError(error.what, error.hint) from error
    except ChangedError as error:
        raise DefinitionError(error.what, error.hint) from error
    except LostWorkerError as error:
        raise TransferError(error.what, error.hint) from error
