"""Accounts at source servers: where user and password are found, or who is asked for them."""

from __future__ import annotations

import contextlib
import copyreg
import functools
import getpass
import logging
import multiprocessing
import os
import shlex
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import AliasChoices, Field, SecretStr, create_model
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from .errors import CredentialsError, LoginError
from .host import secrets_folder
from .links_file import NamedSource, SourceSettings, secret, variable
from .telling import ask, place_to_ask

logger = logging.getLogger("link")
T = TypeVar("T")

#: So often a person is asked for one password, and so many seconds a program has that prints it.
TRIES, PATIENCE = 3, 60
_TYPED = "what was typed"


@dataclass(frozen=True)
class Credentials:
    """An account on the source server, the link user's unless it is said otherwise; the password never shows.

    ``role`` and ``told_by`` are for messages: what the account is, and where user and password were read.
    """

    user: str
    password: str = field(repr=False)
    role: str = "link user"
    told_by: str = "LINK_USER and LINK_PASS"


class _Said(BaseSettings):
    """What the environment says of an account, and what a folder of secrets says."""

    model_config = SettingsConfigDict(case_sensitive=True, env_ignore_empty=True)

    user: str | None = None
    password: SecretStr | None = None


@functools.lru_cache
def _saying(user: str, *password: str) -> Any:
    """What reads variables of these names, and files of such names in a folder of secrets; the former win."""
    of: dict[str, Any] = {
        "user": (str | None, Field(None, validation_alias=user)),
        "password": (SecretStr | None, Field(None, validation_alias=AliasChoices(*password))),
    }
    return create_model("_Said", __base__=_Said, **of)


def credentials(source: NamedSource | None = None, again: bool = False) -> Credentials:
    """The account at a source; of ``LINK_USER`` and ``LINK_PASS`` where it has no name.

    The password of a named source is what ``LINK_<NAME>_PASS`` says; or else the file ``link.<name>.password`` of
    DataJoint's folder of secrets; or what its ``password_command`` prints; or what a person types, if one sits there,
    who is told if it is ``again``.

    Raises
    ------
    CredentialsError
        They are not told, or cannot be read.
    """
    return _of_variables() if source is None else _of_source(source, again)


def logged_in(source: NamedSource | None, connect: Callable[[Credentials], T]) -> T:
    """What comes of connecting with the credentials of a source; a person may correct what was typed."""
    for attempts in range(1, TRIES + 1):
        account = credentials(source, again=attempts > 1)
        try:
            return connect(account)
        except LoginError:
            _remembered.forget(source, account)
            if account.told_by != _TYPED or attempts == TRIES:
                raise
    raise AssertionError


def _of_variables() -> Credentials:
    said: _Said = _saying("LINK_USER", "LINK_PASS")()
    missing = [name for name, of in (("LINK_USER", said.user), ("LINK_PASS", said.password)) if not of]
    if not said.user or not said.password:
        raise CredentialsError(
            f"The environment variable{'s' * (len(missing) > 1)} {' and '.join(missing)} "
            f"{'are' if len(missing) > 1 else 'is'} not set: the account of the link user on the source server.",
            "In a shell: export LINK_USER=... LINK_PASS=...; "
            "in Python, before the first use: os.environ['LINK_USER'] = .... "
            "Or give the source a name in a links.toml, which has more ways (docs/settings.md).",
        )
    return Credentials(said.user, said.password.get_secret_value())


def _of_source(source: NamedSource, again: bool) -> Credentials:
    user_variable, password_variable = variable(source.name, "USER"), variable(source.name, "PASS")
    folder = secrets_folder(source.path)
    try:
        said: _Said = _saying(user_variable, password_variable, secret(source.name))(_secrets_dir=folder)
        problem = None
    except (OSError, ValueError, SettingsError) as error:
        problem = type(error.__cause__ or error).__name__
    if problem is not None:  # raised here: what the file holds is in the error
        raise CredentialsError(
            f"The password of {source.place} cannot be read from {folder}/{secret(source.name)}: {problem}.",
            "It is one line of text, which you may read.",
        )
    user = said.user or source.settings.user
    if not user:
        raise CredentialsError(
            f"There is no user for {source.place}.",
            f"Say user = ... there, or set the environment variable {user_variable}. "
            "LINK_USER and LINK_PASS are for sources without a name.",
        )
    if said.password is None or not said.password.get_secret_value():
        return _remembered.find(source, user, again)
    told_by = password_variable
    if not os.environ.get(password_variable):
        told_by = f"{folder}/{secret(source.name)}"
        _require_secret(Path(told_by), source)
    return Credentials(user, said.password.get_secret_value(), told_by=f"the user, and {told_by}")


def _require_secret(path: Path, source: NamedSource) -> None:
    """Say it once where others on this machine can read a password; not of what a container's own folder has."""
    is_ours = path.parent.parent == source.path.parent
    if is_ours and os.name == "posix" and path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH) and path not in _told:
        _told.add(path)
        logger.warning("Others on this machine can read the password in %s. Run: chmod 600 %s", path, path)


#: Files of which it was said that others can read them.
_told: set[Path] = set()


class _Remembered:
    """Passwords that a person has typed or a program has printed: once a process, and in its memory alone.

    Whoever asks holds the lock, so that of several threads one asks. A forked child has what is known, and a lock of
    its own.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[NamedSource, str], Credentials] = {}
        self._renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self._lock = threading.Lock()

    def find(self, source: NamedSource, user: str, again: bool) -> Credentials:
        """The account of a source whose password is found nowhere else."""
        with self._lock:
            known = self._known.get((source, user))
            if known is None:
                known = self._known[source, user] = _printed(source, user) or _typed(source, user, again)
            return known

    def typed(self, question: str) -> str | None:
        """The password that a person has typed here for a source and a user, as :func:`_question` has them."""
        with self._lock:
            known = [account for (source, user), account in self._known.items() if _question(source, user) == question]
        return next((account.password for account in known if account.told_by == _TYPED), None)

    def has_typed(self, source: NamedSource) -> bool:
        """Whether a person has typed a password of a source here."""
        with self._lock:
            return any(of == source and account.told_by == _TYPED for (of, _), account in self._known.items())

    def forget(self, source: NamedSource | None, account: Credentials) -> None:
        """Ask anew: it was refused."""
        with self._lock:
            if source is not None and self._known.get((source, account.user)) == account:
                del self._known[source, account.user]


_remembered = _Remembered()
#: Which process to ask for what was typed there: of sources that came from another one.
_elsewhere: dict[NamedSource, str] = {}


def _question(source: NamedSource, user: str) -> str:
    return "\n".join((str(source.path), source.name, user))


def _reduced(source: NamedSource) -> tuple[Any, ...]:
    """For another process: without a password, but with a place to ask for one that was typed."""
    place = place_to_ask(_remembered.typed) if _remembered.has_typed(source) else None
    return _arrived, (source.name, source.settings, source.path, source.was_found, place)


def _arrived(name: str, settings: SourceSettings, path: Path, was_found: bool, place: str | None) -> NamedSource:
    source = NamedSource(name, settings, path, was_found)
    if place is not None:
        _elsewhere[source] = place
    return source


copyreg.pickle(NamedSource, _reduced)


def _printed(source: NamedSource, user: str) -> Credentials | None:
    """What the program says that prints the password, if there is one."""
    command = source.settings.password_command
    if command is None:
        return None
    what = f"The password_command of {source.place}"
    if source.was_found and (whose := _others_than_ours(source.path)):
        raise CredentialsError(
            f"{what} is not run: {whose}, and nobody has named the file.",
            f"Name it, load({str(source.path)!r}), if it may run programs as you; or see to it that it is yours alone.",
        )
    hint = "Run it in a shell: it is to print the password as its first line, and to end with 0."
    problem = ""
    try:
        words = list(command) if isinstance(command, tuple) else shlex.split(command)
        run = subprocess.run(words, capture_output=True, timeout=PATIENCE, cwd=source.path.parent)
        password = run.stdout.decode().split("\n")[0].rstrip("\r")
    except subprocess.TimeoutExpired:
        problem = f"has not ended within {PATIENCE} s"
    except UnicodeDecodeError:
        problem = "has printed what is no text"
    except (OSError, ValueError) as error:
        problem = f"cannot be run: {error}"
    if problem:  # raised here: the errors above hold what was printed
        raise CredentialsError(f"{what} {problem}.", hint)
    if run.returncode:
        complaint = run.stderr.decode(errors="replace").strip()[-500:]
        complaint = complaint.replace(password, "***") if password else complaint
        raise CredentialsError(f"{what} has ended with {run.returncode}: {complaint or 'without a word'}", hint)
    if not password:
        raise CredentialsError(f"{what} has printed nothing.", hint)
    return Credentials(user, password, told_by="the user, and what the password_command prints")


def _others_than_ours(path: Path) -> str | None:
    """Who else decides what a file says, if somebody does: it may lie in a folder that is everybody's."""
    if os.name != "posix":
        return None
    if not path.exists():
        return "the file is no longer there"
    status = path.stat()
    if status.st_uid not in (0, os.getuid()):
        return "the file is another user's"
    return "everybody may change the file" if status.st_mode & stat.S_IWOTH else None


def _typed(source: NamedSource, user: str, again: bool) -> Credentials:
    """What a person types who sits at a terminal or a notebook; nobody does before a worker."""
    password = ""
    if not again and source in _elsewhere:
        password = ask(_elsewhere[source], _question(source, user)) or ""
    if not password and _is_attended():
        with contextlib.suppress(EOFError, NotImplementedError):  # a kernel whose client has nobody to ask
            refused = "It was refused. " if again else ""
            password = getpass.getpass(f"{refused}Password of {user} at {source.name} ({source.address.host}): ")
    if not password:
        raise CredentialsError(
            f"There is no password for the user {user!r} of {source.place}, and nobody to ask for it.",
            f"Set the environment variable {variable(source.name, 'PASS')}, write it into "
            f"{source.path.parent / '.secrets' / secret(source.name)}, or say password_command = ... there. "
            "Where a person sits at a terminal or a notebook it is asked for, but not by workers: those that "
            "multiprocessing has started there get it from that process, as long as it is there.",
        )
    return Credentials(user, password, told_by=_TYPED)


def _is_attended() -> bool:
    if multiprocessing.parent_process() is not None:
        return False
    ipython = sys.modules.get("IPython")
    if ipython is not None and getattr(ipython.get_ipython(), "kernel", None) is not None:
        return True  # its getpass asks its client
    with contextlib.suppress(ValueError):  # it is closed
        return sys.stdin is not None and sys.stdin.isatty()
    return False
