"""How the drivers are told of TLS; what is wrong with it, in our words."""

from __future__ import annotations

import ipaddress
import re
import socket
import ssl
from pathlib import Path
from typing import Any

from ..errors import ConfigError, EncryptionError
from ..tls import Tls

_IN_THE_CLEAR = (
    "On a network that you trust, use_tls=False does without (of an administrator: DJ_USE_TLS=false); elsewhere a "
    "tunnel, such as by ssh -L, does instead."
)
#: Signs in what a driver says, and what is wrong and to be done. The first that is found counts.
_MEANINGS = (
    (
        r"SSL is required but the server|SSL was required",
        "offers no encryption (TLS)",
        f"Ask its administrator to switch TLS on. {_IN_THE_CLEAR}",
    ),
    (
        r"certificate has expired|certificate is not yet valid",
        "has a certificate that is out of date",
        "Ask its administrator to renew the certificate; and look at the clock of this machine.",
    ),
    (
        r"does not match host name|hostname mismatch|IP address mismatch|doesn't match",
        "has a certificate for another name",
        "Connect by a name in it; or, where that cannot be, as through a tunnel: "
        'use_tls={"ca": ..., "check_hostname": False}.',
    ),
    (
        r"certificate verify failed",
        "has a certificate that nobody in the file ca of use_tls vouches for",
        "Ask its administrator for the certificate of who has signed it. If that is the file, somebody may be "
        "answering in the server's place: give no password away.",
    ),
    (
        r"requires a valid client certificate|certificate required|alert (unknown ca|bad certificate)",
        "wants a certificate of the client, or another one",
        'Give it with use_tls={"ca": ..., "cert": ..., "key": ...}; its administrator signs it.',
    ),
    (r"private key file", "is not shown the key of use_tls", "Let nobody else read that file: chmod 600."),
    (
        r"handshake failure|(unsupported|wrong|no) (protocol|version|cipher|shared cipher)|alert protocol version|"
        r"(key|modulus) too (small|weak)|WRONG_VERSION|UNSUPPORTED_PROTOCOL",
        "does not agree on encryption (TLS)",
        f"Ask its administrator which versions of TLS it speaks: 1.2 or later is needed. {_IN_THE_CLEAR}",
    ),
)


def find_refusal(said: str, server: str) -> EncryptionError | None:
    """What is wrong with the encryption where a driver has said this of a server; None where it is something else."""
    for signs, what, todo in _MEANINGS:
        if re.search(signs, said, re.IGNORECASE):
            return EncryptionError(f"{server} {what}: {said}", todo)
    return None


def is_refused(said: str) -> bool:
    """Whether a driver has said that nothing comes of encryption."""
    return bool(find_refusal(said, "") or re.search(r"pg_hba\.conf.*, SSL encryption", said))


def is_this_machine(host: str) -> bool:
    """Whether what goes there leaves this machine in no case: a folder of sockets, or a name of loopback alone."""
    if host.startswith("/"):
        return True
    try:
        addresses = {str(found[4][0]) for found in socket.getaddrinfo(host, None)}
    except OSError:
        return False
    return bool(addresses) and all(map(is_loopback, addresses))


def is_loopback(address: str) -> bool:
    """Whether an address, as digits, is one of loopback."""
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def context(tls: Tls) -> ssl.SSLContext:
    """For a driver, or a look at a server, by Python's own TLS.

    Raises
    ------
    ConfigError
        A file of ``use_tls`` is not there, or not what it should be.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = tls.check_hostname and tls.ca is not None
    made.verify_mode = ssl.CERT_NONE if tls.ca is None else ssl.CERT_REQUIRED
    if tls.ca is not None:
        _require_file("ca", tls.ca)
        try:
            made.load_verify_locations(tls.ca)
        except (OSError, ssl.SSLError) as error:
            raise _unfit(f"The file ca of use_tls, {tls.ca}, holds no certificates: {error}") from error
    if tls.cert is not None:
        _require_file("cert", tls.cert)
        if tls.key is not None:
            _require_file("key", tls.key)
        try:
            # A key with a password is refused, where the driver would ask for it.
            made.load_cert_chain(tls.cert, tls.key, password=lambda: "")
        except (OSError, ssl.SSLError, ValueError) as error:
            files = tls.cert if tls.key is None else f"{tls.cert} and {tls.key}"
            raise _unfit(
                f"A certificate with its key, in PEM and without a password, is not in {files}: {error}"
            ) from error
    return made


def settings(tls: Tls) -> dict[str, Any]:
    """For a driver that stands on libpq, which is given the names of the files.

    Raises
    ------
    ConfigError
        As :func:`context`.
    """
    if not tls.required:
        return {"sslmode": "disable"}
    context(tls)  # says what is wrong with a file, which libpq does not everywhere
    checked = "verify-full" if tls.check_hostname else "verify-ca"
    files = {"sslrootcert": tls.ca, "sslcert": tls.cert, "sslkey": tls.key or tls.cert}
    # Kerberos, which libpq would prefer where it is set up, knows nothing of certificates.
    modes = {"sslmode": checked if tls.ca else "require", "gssencmode": "disable"}
    return modes | {name: path for name, path in files.items() if path}


def _require_file(what: str, path: str) -> None:
    try:
        Path(path).read_bytes()
    except OSError as error:
        raise _unfit(f"The file {what} of use_tls, {path}, cannot be read: {error.strerror}.") from error


def _unfit(what: str) -> ConfigError:
    return ConfigError(what, "Files of use_tls are in PEM, and found from the folder that the program runs in.")
