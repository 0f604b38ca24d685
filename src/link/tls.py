"""Whether and how what goes over the network is encrypted, as ``use_tls`` says it. Nothing here connects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .errors import ConfigError

#: What ``use_tls`` may be told: files, and whether a certificate must be for the very name that is connected to.
FILES = ("ca", "cert", "key")
CHECK_HOSTNAME = "check_hostname"


@dataclass(frozen=True)
class Tls:
    """How sessions on a server are encrypted.

    Attributes
    ----------
    required : bool or None
        Whether they are, or there is no session; None for all servers but those on this machine.
    ca : str or None
        File with the certificates of those who may vouch for the server; without it nobody is asked.
    cert, key : str or None
        Files with the certificate and the key that the client shows.
    check_hostname : bool
        Whether the server's certificate must be for the name that is connected to, where it is checked.
    """

    required: bool | None = None
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    check_hostname: bool = True

    def settled(self, required: bool) -> Tls:
        """The same, where it is known by now what it comes to."""
        return replace(self, required=required)


#: Nothing is encrypted.
CLEAR = Tls(required=False)


def parse_tls(given: Tls | bool | Mapping[str, Any] | None) -> Tls:
    """What ``use_tls`` says.

    Raises
    ------
    ConfigError
        It is of another kind, or names what there is not.
    """
    if isinstance(given, Tls):
        return given
    if given is None or isinstance(given, bool):
        return Tls(given)
    if not isinstance(given, Mapping) or not given:
        raise ConfigError(f"use_tls must be True, False or a mapping with files, not {given!r}.", _FOR_EXAMPLE)
    if unknown := [key for key in given if key not in (*FILES, CHECK_HOSTNAME)]:
        raise ConfigError(f"use_tls does not know {', '.join(map(repr, unknown))}.", _FOR_EXAMPLE)
    files = {key: _path(key, given[key]) for key in FILES if given.get(key) is not None}
    check = given.get(CHECK_HOSTNAME, True)
    if not isinstance(check, bool):
        raise ConfigError(f"{CHECK_HOSTNAME} of use_tls must be True or False, not {check!r}.", _FOR_EXAMPLE)
    if "key" in files and "cert" not in files:
        raise ConfigError("use_tls has a key without its certificate.", _FOR_EXAMPLE)
    if not check and "ca" not in files:
        raise ConfigError(f"{CHECK_HOSTNAME} of use_tls is for a certificate that is checked: with ca.", _FOR_EXAMPLE)
    return Tls(True, **files, check_hostname=check)


_FOR_EXAMPLE = (
    'Such as use_tls={"ca": "lab-a-ca.pem"}: its file of certificates; cert and key, where the server wants a '
    f"certificate of the client; {CHECK_HOSTNAME}=False, where its certificate is for another name."
)


def _path(key: str, given: Any) -> str:
    if not isinstance(given, (str, Path)) or not str(given):
        raise ConfigError(f"{key} of use_tls must be the path of a file, not {given!r}.", _FOR_EXAMPLE)
    return str(Path(given).expanduser())
