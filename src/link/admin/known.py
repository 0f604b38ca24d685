"""What a server knows of a link user: whether the account is there, and what else it is for."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from ..servers.catalogue import Catalogue
from ..servers.rights import Access, PipelineAccess, Rights, Statement, because

A = TypeVar("A", Access, PipelineAccess)
#: So many tables are named.
_NAMED = 5


@dataclass(frozen=True)
class Known:
    """What is known of an account.

    Attributes
    ----------
    is_there : bool
        Whether it is seen to be there.
    others : tuple of str
        What it has rights on beside what is to be given, or taken back.
    rights : frozenset of tuple
        The schemas and tables on which it has rights of its own, as the server compares their names.
    """

    is_there: bool = False
    others: tuple[str, ...] = ()
    rights: frozenset[tuple[str, str]] = frozenset()


def know(catalogue: Catalogue, access: Access | PipelineAccess, own: Collection[tuple[str, str]]) -> Known:
    """Look an account up.

    Parameters
    ----------
    catalogue : Catalogue
        Of the server, as its administrator.
    access : Access or PipelineAccess
        What names the account.
    own : collection of tuple
        The schemas and tables that this access is about; no table for all of a schema.
    """
    found = catalogue.account_rights(access.user, access.client_host)
    if found is None:
        return Known()
    ours = {_folded(catalogue, *each) for each in own}
    whole = {schema for schema, table in ours if not table}
    others = sorted(
        f"{schema}.{table or '*'}"
        for schema, table in found
        if _folded(catalogue, schema, table) not in ours
        and catalogue.folded(schema) not in whole
        and not table.startswith("~")
    )
    roles = [f"all that the role {role} has" for role in catalogue.account_roles(access.user, access.client_host)]
    return Known(True, (*others, *roles), frozenset(_folded(catalogue, *each) for each in found))


def held_of(catalogue: Catalogue, known: Known, schema: str, names: Sequence[str]) -> list[str]:
    """Those of some tables on which an account has rights; all of them where it has none, or is not known.

    To take back what was not given is an error on MySQL and MariaDB, after which a script goes no further.
    """
    held = [name for name in names if _folded(catalogue, schema, name) in known.rights]
    return held or list(names)


def _folded(catalogue: Catalogue, schema: str, table: str) -> tuple[str, str]:
    return catalogue.folded(schema), catalogue.folded(table)


def given(access: A, known: Known) -> tuple[A, list[str]]:
    """The access, which makes no account that is there; and what is to be said of it."""
    if not (access.new_user and known.is_there):
        return access, []
    return replace(access, new_user=False), [f"The account {access.user!r} is there already, and stays as it is."]


def taken(access: A, known: Known, rights: Rights) -> tuple[A, list[Statement]]:
    """The access, whose account goes only where it is known to be for nothing else; and what else is to be run."""
    if not access.new_user or (known.is_there and not known.others):
        return access, []
    if known.others:
        why = f"The account stays, for it has rights on {_listed(known.others)}. Without these:"
    else:
        why = "The account stays: with --host it is looked up whether it is for anything else. If it is not:"
    return replace(access, new_user=False), because(why, [rights.drop(access)], optional=True)


def _listed(names: Iterable[str]) -> str:
    first, more = list(names)[:_NAMED], list(names)[_NAMED:]
    return ", ".join([*first, *[f"{len(more):,} more"] * bool(more)])
