"""What a verb says: as text or as one JSON document, and with which exit code."""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any


class Exit(IntEnum):
    """The exit codes. Of several links the gravest is told: the order is that of :data:`_GRAVEST`."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    DIFFERS = 3
    WAITS = 4
    UNREACHABLE = 5
    LOGIN = 6
    INTERRUPTED = 130


_GRAVEST = (
    Exit.INTERRUPTED,
    Exit.LOGIN,
    Exit.UNREACHABLE,
    Exit.USAGE,
    Exit.FAILED,
    Exit.DIFFERS,
    Exit.WAITS,
    Exit.DONE,
)


#: How DataJoint's warning of a file of settings begins that it cannot use.
UNREADABLE = "Failed to load config"
_SETTINGS = "Correct it: your own server is the one that datajoint.json and the variables DJ_... tell of."


def gravest(exits: list[Exit]) -> Exit:
    """The exit code of several links together."""
    return next(code for code in _GRAVEST if code in [*exits, Exit.DONE])


@dataclass
class Asked:
    """What was asked for before the verb.

    Attributes
    ----------
    config : Path or None
        The ``links.toml``; None for the one that is found.
    as_json, quiet, verbose : bool
        How to say it.
    verb : str or None
        The verb, once it is known.
    stands : str
        What is said of an interrupted verb: what stands of its work.
    """

    config: Path | None = None
    as_json: bool = False
    quiet: bool = False
    verbose: bool = False
    verb: str | None = None
    stands: str = "Nothing more was done."


@dataclass
class Report:
    """What a verb has to say.

    Attributes
    ----------
    text : str
        What was asked for: it goes to stdout.
    notes : list of str
        What there is to know beside it: lines on stderr.
    link : str or None
        The link that it is about.
    exit : Exit
        The exit code.
    counts : dict
        What the public function returned, as its ``to_dict()`` has it.
    keys : dict of str to list of dict
        The keys of entities that somebody has to look at, by ``"schema.Class"``.
    errors : list of dict
        What went wrong: ``type``, ``what``, ``hint``.
    has_told_errors : bool
        Whether the text says them already.
    more : dict
        What this verb alone has in its document.
    links : list of Report
        Of several links, what is said of each.
    seconds : float
        Wall time.
    """

    text: str = ""
    notes: list[str] = field(default_factory=list)
    link: str | None = None
    exit: Exit = Exit.DONE
    counts: dict[str, Any] = field(default_factory=dict)
    keys: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    errors: list[dict[str, Any]] = field(default_factory=list)
    has_told_errors: bool = False
    more: dict[str, Any] = field(default_factory=dict)
    links: list[Report] = field(default_factory=list)
    seconds: float = 0.0

    def document(self, verb: str | None) -> dict[str, Any]:
        """What ``--json`` prints."""
        return {
            "verb": verb,
            "link": self.link,
            "exit": int(self.exit),
            "counts": self.counts,
            "keys": self.keys,
            "seconds": round(self.seconds, 3),
            "errors": self.errors,
            **self.more,
            **({"links": [each.document(verb) for each in self.links]} if self.links else {}),
        }

    def tell(self, asked: Asked) -> None:
        """Print it. Whoever is quiet is told of nothing that is well."""
        if asked.as_json:
            is_utf8 = (sys.stdout.encoding or "utf-8").lower().replace("-", "") == "utf8"
            print(json.dumps(self.document(asked.verb), indent=2, ensure_ascii=not is_utf8))
        for each in self.links or [self]:
            each._tell(asked, f"{each.link}: " if self.links else "")

    def _tell(self, asked: Asked, about: str) -> None:
        is_told = not asked.as_json and (not asked.quiet or self.exit is not Exit.DONE)
        if is_told and self.text:
            print(f"{about.strip()}\n{self.text}" if about else self.text)
        sys.stdout.flush()
        for note in [] if asked.quiet else self.notes:
            print(f"{about}{note}", file=sys.stderr)
        for error in [] if is_told and self.has_told_errors else self.errors:
            hint = f"\n  → {error['hint']}" if error["hint"] else ""
            print(f"datajoint-link: {about}{error['what']}{hint}", file=sys.stderr)


def failure(error: BaseException, asked: Asked) -> Report:
    """What is said of an error; a traceback belongs to what nobody has foreseen, or to who asks for it."""
    try:
        from ..host import DataJointError
    except (ValueError, UserWarning) as unset:
        return _unset(unset)
    from ..model.shown import plain_error

    if not isinstance(error, (DataJointError, OSError)) or asked.verbose:
        traceback.print_exception(error, file=sys.stderr)
    assert isinstance(error, Exception)
    return Report(exit=exit_of(error), errors=[plain_error(error)])


def _unset(error: Exception) -> Report:
    """What is said where DataJoint cannot be loaded with the settings that it finds."""
    found = str(error).partition(f"{UNREADABLE} from ")[2].partition(": ")[0]
    reason = error.__context__ if found else error
    # Of each setting its name, and no value: that of a password is one, too.
    wrong = [(".".join(map(str, one["loc"])), one["msg"]) for one in getattr(reason, "errors", list)()]
    told = "; ".join(f"{name}: {complaint}" for name, complaint in wrong) or str(reason)
    what = f"DataJoint cannot read its settings{f' in {found}' if found else ''}: {told}."
    return Report(exit=Exit.USAGE, errors=[{"type": "ConfigError", "what": what, "hint": _SETTINGS}])


def exit_of(error: BaseException) -> Exit:
    """The exit code of an error."""
    from .. import errors

    codes: list[tuple[Exit, tuple[type[Exception], ...]]] = [
        (Exit.UNREACHABLE, (errors.UnreachableError, errors.ConnectionLimitError)),
        (Exit.LOGIN, (errors.LoginError, errors.PrivilegeError, errors.CredentialsError)),
        (Exit.FAILED, (errors.StoreError,)),
        (Exit.USAGE, (errors.ConfigError, errors.NotFoundError)),
        (Exit.DIFFERS, (errors.ConflictError, errors.TransferError)),
    ]
    return next((code for code, kinds in codes if isinstance(error, kinds)), Exit.FAILED)


def mistake(what: str, hint: str) -> Report:
    """What is said of a command that is not understood."""
    return Report(exit=Exit.USAGE, errors=[{"type": "UsageError", "what": what, "hint": hint}])


def set_level(level: str) -> None:
    """For DataJoint, whose level is ours, whether it has been loaded or not; and for processes of ours."""
    os.environ["DJ_LOG_LEVEL"] = level
    logging.getLogger("datajoint").setLevel(level)
