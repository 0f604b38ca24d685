"""What DataJoint calls a backend: all of it that is known before anything is connected."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Backend:
    """One backend of DataJoint's.

    Attributes
    ----------
    name : str
        DataJoint's name for it.
    schemes : tuple of str
        How URLs of such servers begin.
    port : int
        Where they listen unless it is said otherwise.
    has_databases : bool
        Whether schemas lie in databases, one of which is connected to.
    has_socket_folders : bool
        Whether the host may be the folder of a socket.
    has_legacy : bool
        Whether DataJoint 0.12 to 0.14 know it.
    """

    name: str
    schemes: tuple[str, ...]
    port: int
    has_databases: bool
    has_socket_folders: bool
    has_legacy: bool


BACKENDS: dict[str, Backend] = {
    backend.name: backend
    for backend in (
        Backend("mysql", ("mysql", "mariadb"), 3306, has_databases=False, has_socket_folders=False, has_legacy=True),
        Backend(
            *("postgresql", ("postgresql", "postgres"), 5432),
            has_databases=True,
            has_socket_folders=True,
            has_legacy=False,
        ),
    )
}
