"""All that this package knows of DataJoint beyond its documented names.

Everything private to DataJoint, and every name of its submodules, is used in here and in :mod:`link.mends`, and nowhere
else, so that a new release is read against two pages.

Tried with the tests: DataJoint 2.3.5. With 2.3.4 a deletion of some restricted tables deletes more than was selected,
which is noticed and refused; 2.3.0 has no ``Codec.referenced_paths``, without which files are not found.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import logging
import os
import re
import threading
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, cast

import datajoint as dj
import networkx
from datajoint import instance
from datajoint.builtin_codecs import AttachCodec, BlobCodec, FilepathCodec, HashCodec, NpyCodec, SchemaCodec
from datajoint.codecs import Codec, is_codec_registered, lookup_codec, resolve_dtype
from datajoint.declare import CORE_TYPE_PATTERNS
from datajoint.dependencies import extract_master
from datajoint.errors import AccessError, DataJointError, IntegrityError, LostConnectionError, ThreadSafetyError
from datajoint.expression import Aggregation, QueryExpression
from datajoint.hash_registry import build_hash_path, get_store_backend
from datajoint.heading import Heading
from datajoint.lineage import ensure_lineage_table, get_schema_lineages, insert_lineages
from datajoint.schemas import _Schema as Schema
from datajoint.settings import Config, find_secrets_dir
from datajoint.storage import TOKEN_ALPHABET, StorageBackend, build_object_path
from datajoint.table import FreeTable
from datajoint.user_tables import TableMeta, UserTable
from datajoint.utils import from_camel_case as _from_camel_case
from datajoint.utils import is_camel_case
from datajoint.utils import to_camel_case as _to_camel_case
from datajoint.utils import user_choice as _user_choice

from .errors import ConfigError
from .tls import CLEAR, Tls

__all__ = [
    "TOKEN_ALPHABET",
    "AccessError",
    "AttachCodec",
    "BlobCodec",
    "Codec",
    "Config",
    "DataJointError",
    "FilepathCodec",
    "FreeTable",
    "HashCodec",
    "Heading",
    "LostConnectionError",
    "NpyCodec",
    "QueryExpression",
    "SchemaCodec",
    "StorageBackend",
    "TableMeta",
    "UserTable",
    "build_hash_path",
    "build_object_path",
    "get_store_backend",
    "is_camel_case",
    "is_codec_registered",
    "lookup_codec",
    "resolve_dtype",
]


# Of a source's server; of DataJoint's own connection it goes on being said.
warnings.filterwarnings("ignore", "MariaDB is not officially supported", UserWarning, re.escape(__name__))


# names


def from_camel_case(name: str) -> str:
    """The name of the table of a class."""
    return str(_from_camel_case(name))


def table_of(name: str) -> str:
    """The name of the table of a class; what is no name of a class stays as it is."""
    return from_camel_case(name) if is_camel_case(name) else name


def to_camel_case(name: str) -> str:
    """The name of the class of a table."""
    return str(_to_camel_case(name))


# connections


@dataclass(frozen=True)
class Login:
    """How a connection of DataJoint's was made; the password never shows.

    Attributes
    ----------
    database : str or None
        On a server where schemas lie in databases.
    tls : Tls or mapping
        How it is encrypted; a mapping for the driver, where DataJoint was given one.
    backend : str
        DataJoint's name for the kind of server.
    """

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    database: str | None
    tls: Tls | Mapping[str, Any] = field(repr=False)
    backend: str


#: What connects a driver: it is given what DataJoint does it by, the login, and what DataJoint would say by keywords.
Connecting = Callable[..., Any]


class _Connection(dj.Connection):
    """A connection of DataJoint's for which we connect the driver, now and whenever it was lost.

    DataJoint goes on without encryption where it fails, does not require it on all servers where it is told to, and
    does not check certificates on all of them. The settings are those of the process, which need not be read again.
    """

    #: How it is pickled, with all queries that have it; see :func:`pickle_as`.
    pickled: tuple[Any, ...] | None = None

    def __init__(self, login: Login, connecting: Connecting) -> None:
        self.login = login
        self._connecting = connecting
        config = instance._global_config.model_copy(deep=True)
        config.database.backend = cast(Any, login.backend)
        config.database.name = login.database
        super().__init__(
            login.host,
            login.user,
            login.password,
            login.port,
            use_tls=login.tls != CLEAR,  # said so, DataJoint does not go on without
            backend=login.backend,
            database_name=login.database,
            config_override=config,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return self.pickled or super().__reduce__()  # type: ignore[return-value]

    def connect(self) -> None:
        """Connect, by the driver."""
        adapter: Any = self.adapter
        if "connect" not in vars(adapter):
            adapter.connect = functools.partial(self._connecting, adapter.connect, self.login)
            getattr(adapter, "_register_numpy_adapters", lambda: None)()
        super().connect()


def connect(login: Login, connecting: Connecting) -> dj.Connection:
    """A connection by a login; what DataJoint says of it is left to who asks for it."""
    with muted():
        return _Connection(login, connecting)


def login(connection: dj.Connection) -> Login:
    """How a connection was made, as far as DataJoint tells it."""
    if isinstance(connection, _Connection):
        return connection.login
    info: dict[str, Any] = connection.conn_info
    asked = info["ssl_input"]
    return Login(
        info["host"],
        info["port"],
        info["user"],
        info["passwd"],
        info.get("database_name"),
        asked if isinstance(asked, Mapping) and asked else Tls(asked is not False),
        backend(connection),
    )


def secrets_folder(beside: Path) -> Path | None:
    """The folder of secrets that belongs to a file of settings."""
    return find_secrets_dir(beside)


def own_connection() -> dj.Connection | None:
    """DataJoint's own connection, if there is one by now."""
    return instance._singleton_connection


def pickle_as(connection: dj.Connection, connect: Callable[..., dj.Connection], *args: Any) -> None:
    """Let a connection that we made be pickled as what makes another one like it; that is to hold no password."""
    cast(Any, connection).pickled = (connect, args)


class GivenElsewhere:
    """What stands for an argument ``connection=`` in another process than the one in which it was given."""

    @property
    def connection(self) -> NoReturn:
        """There is none."""
        raise ConfigError(
            "This link, or query, came from another process, where its local server was given as connection=, which "
            "does not travel.",
            "Make the link in this process; or configure DataJoint for that server in both, and leave connection= out.",
        )


def for_elsewhere(given: Any) -> Any:
    """What another process gets instead of an argument ``connection=``; of DataJoint's own connection it has one."""
    if given is None or isinstance(given, GivenElsewhere):
        return given
    return None if getattr(given, "connection", given) is own_connection() else GivenElsewhere()


def connection_of(given: Any) -> dj.Connection:
    """The connection that an argument ``connection=`` stands for: DataJoint's own where there is none.

    Raises
    ------
    ConfigError
        It is neither a connection nor has one.
    """
    if given is None:
        return dj.conn()
    connection = getattr(given, "connection", given)
    if not isinstance(connection, dj.Connection):
        raise ConfigError(
            f"connection= must be a dj.Instance or a dj.Connection, not {type(given).__name__}.",
            "For example: connection=dj.Instance(host, user, password).",
        )
    return connection


def backend(connection: dj.Connection) -> str:
    """DataJoint's name for the kind of server."""
    return str(connection.adapter.backend)


def driver(connection: dj.Connection) -> Any:
    """The driver's connection inside of DataJoint's."""
    return connection._conn


def answers(connection: dj.Connection) -> bool:
    """Whether a connection is there; its ``is_connected`` is true of one that is lost, too."""
    return bool(connection.adapter.ping(connection._conn))


def reconnect(connection: dj.Connection) -> None:
    """Connect anew; whatever was open is rolled back."""
    connection.connect()
    connection._in_transaction = False


def in_transaction(connection: dj.Connection) -> bool:
    """Whether DataJoint believes that a transaction is open."""
    return bool(connection.in_transaction)


@contextlib.contextmanager
def without_reconnecting(connection: Any) -> Iterator[None]:
    """Let queries fail when the connection is lost, instead of connecting anew in silence."""
    routed = vars(connection).get("query")
    connection.query = functools.partial(connection.query, reconnect=False)
    try:
        yield
    finally:
        del connection.query
        if routed:
            connection.query = routed


def route_queries(connection: Any, through: Callable[[str, Callable[[], Any]], Any]) -> None:
    """Let every query of a connection go through something, which is given its text and what sends it."""
    query = connection.query
    connection.query = lambda sql, *args, **kwargs: through(sql, lambda: query(sql, *args, **kwargs))


def after_connecting(connection: Any, action: Callable[[], None]) -> None:
    """Do something each time that a connection has been made anew, whoever has found out that it was lost."""
    connect = connection.connect

    def connect_and_act() -> None:
        connect()
        action()

    connection.connect = connect_and_act


# settings


def config(connection: dj.Connection) -> Config:
    """The settings of a connection."""
    return connection._config


def stores(connection: dj.Connection) -> dict[str, Any]:
    """The stores in the settings of a connection."""
    return dict(connection._config.stores or {})


def set_stores(connection: dj.Connection, settings: Mapping[str, Any]) -> None:
    """Give a connection other stores."""
    connection._config.stores = dict(settings)


def store_settings(connection: dj.Connection, store: str) -> dict[str, Any]:
    """The settings of one store, with their defaults; DataJointError where they are wrong."""
    return dict(connection._config.get_store_spec(store))


def settings_of_process() -> Any:
    """What ``dj.config`` says in this process, or None where DataJoint is told to have nothing of the kind."""
    try:
        dj.config.get("download_path")
    except ThreadSafetyError:
        return None
    return dj.config


def use_tls_of_process() -> bool | None:
    """What DataJoint is told of encryption in this process, if anything."""
    return instance._global_config.database.use_tls


@dataclass(frozen=True)
class Configured:
    """What DataJoint is told of its own server; None for what it is not told."""

    host: str | None
    port: int | None
    user: str | None
    password: str | None = field(repr=False)
    backend: str | None
    database: str | None


def configured() -> Configured:
    """What the environment says of DataJoint's own server, or else its settings."""
    settings = instance._global_config.database

    def said(name: str, variable: str) -> Any:
        return os.environ.get(variable) or (getattr(settings, name) if name in settings.model_fields_set else None)

    password, port = said("password", "DJ_PASS"), said("port", "DJ_PORT")
    # Settings have the usual port where none is said.
    is_usual = not os.environ.get("DJ_PORT") and port in (3306, 5432)
    return Configured(
        said("host", "DJ_HOST"),
        None if port is None or is_usual else int(port),
        said("user", "DJ_USER"),
        password.get_secret_value() if hasattr(password, "get_secret_value") else password,
        said("backend", "DJ_BACKEND"),
        said("name", "DJ_DATABASE_NAME"),
    )


def safemode(connection: dj.Connection) -> bool:
    """Whether deletions ask first."""
    return bool(connection._config["safemode"])


def agrees(question: str, unattended: bool | None = None) -> bool:
    """Whether somebody says yes to a question; Enter is no.

    Parameters
    ----------
    question : str
        The last line is asked.
    unattended : bool, optional
        The answer in a notebook that a program runs. Without it that is an error, as Ctrl-D is, and no terminal.

    Raises
    ------
    ConfigError
        Nobody answers.
    """
    try:
        return str(_user_choice(question, default="no")) == "yes"
    except (EOFError, NotImplementedError) as nobody:
        if unattended is not None and isinstance(nobody, NotImplementedError):
            return unattended
        raise ConfigError(
            f"Nobody answers here what was asked ({question.splitlines()[-1]}), and so it was not done.",
            "Where nobody can answer, say prompt=False to do it unasked; of datajoint-link that is --yes.",
        ) from None


def path_in(backend: StorageBackend, path: str) -> str:
    """A path in a store, as the store's system has it."""
    return str(backend._full_path(path))


# words


@contextlib.contextmanager
def muted() -> Iterator[None]:
    """Let DataJoint not say anything in this thread."""
    thread = threading.get_ident()

    def is_said(record: logging.LogRecord) -> bool:
        return record.thread != thread

    dj.logger.addFilter(is_said)
    try:
        yield
    finally:
        dj.logger.removeFilter(is_said)


# tables


def full_name(connection: dj.Connection, schema: str, table: str) -> str:
    """A table's quoted full name as DataJoint writes it."""
    return str(connection.adapter.make_full_table_name(schema, table))


def free_table(connection: dj.Connection, schema: str, table: str) -> Any:
    """A table without a class."""
    return FreeTable(connection, full_name(connection, schema, table))


def load_heading(table: Any) -> Heading:
    """The heading of a table, read from the server."""
    heading: Heading = table.heading
    _ = heading.attributes  # what is asked for first loads all of it
    return heading


def is_schema(given: Any) -> bool:
    """Whether something is one of DataJoint's schemas, and stands for one on a server."""
    return isinstance(given, Schema) and given.is_activated()


def schema_given(argument: str, given: Any) -> tuple[str, dj.Connection] | None:
    """Name and connection of one of DataJoint's schemas; None for what is none.

    Raises
    ------
    ConfigError
        It stands for none on a server.
    """
    if not isinstance(given, Schema):
        return None
    if given.connection is None or not given.is_activated():
        raise ConfigError(
            f"{argument}= has a dj.Schema without a name.",
            'Give it one first, schema.activate("name"), or give the name alone.',
        )
    return str(given.database), given.connection


def know_schema(connection: dj.Connection, schema: str) -> None:
    """Tell DataJoint of a schema that is there: it seeks dependents only in those that it knows."""
    known: Any = dj.Schema(connection=connection, create_schema=False, create_tables=False)
    known.database = schema
    connection.register(known)


def take_for(
    heading: Any, name: str, declared: str, codec: Codec | None = None, store: str | None = None, kind: str = ""
) -> None:
    """Let an attribute of a loaded heading be as it is declared here, with this codec or with none.

    The ``kind`` is ``"uuid"`` or ``"json"`` where DataJoint does not know it by the column's type.
    """
    changes: dict[str, Any] = {"type": declared, "original_type": None, "codec": codec, "store": store}
    heading._attributes[name] = heading._attributes[name]._replace(**changes, **{kind: True} if kind else {})


def hide(heading: Any, names: Collection[str]) -> None:
    """Let attributes of a loaded heading be neither shown nor fetched."""
    for name in names:
        heading._attributes[name] = heading._attributes[name]._replace(is_hidden=True)
    heading.indexes = {columns: facts for columns, facts in heading.indexes.items() if not {*columns} & {*names}}


def add_comment(heading: Any, comment: str) -> None:
    """Say something more in the comment of a table whose heading is loaded, which its description begins with."""
    heading._table_status["comment"] = "; ".join(filter(None, (heading._table_status["comment"], comment)))


def set_heading(table: Any, heading: Heading) -> None:
    """Give a table a heading that has been loaded."""
    table._heading = heading


def has_lineage(heading: Heading) -> bool:
    """Whether a heading says where its attributes come from."""
    return bool(heading.lineage_available)


def set_lineage(heading: Any, lineages: Mapping[str, str]) -> None:
    """Let a loaded heading say where its attributes come from: ``schema.table.attribute``, or nothing."""
    attributes = heading._attributes
    for name, attribute in attributes.items():
        attributes[name] = attribute._replace(lineage=lineages.get(name))
    heading._lineage_available = True


def is_core_type(marker: str) -> bool:
    """Whether a marker names a type of DataJoint 2's own: it marks them all, and those before it a uuid alone."""
    return marker != "uuid" and any(pattern.match(marker) for pattern in CORE_TYPE_PATTERNS.values())


def recorded_lineage(connection: dj.Connection, schema: str) -> dict[str, str]:
    """What is written down in a schema of where attributes, as ``schema.table.attribute``, come from."""
    return dict(get_schema_lineages(connection, schema))


def record_lineage(connection: dj.Connection, schema: str, entries: Sequence[tuple[str, str, str]]) -> None:
    """Write down in a schema where attributes of its tables come from: table, attribute, origin."""
    ensure_lineage_table(connection, schema)
    insert_lineages(connection, schema, list(entries))


# deletions


class Alone:
    """Rows of a table that go without others, as by DataJoint's ``delete_quick``.

    Attributes
    ----------
    tables : list
        The tables, each restricted to the rows that go; what depends on others stands behind them.
    """

    def __init__(self, table: Any) -> None:
        self.tables: list[Any] = [table]

    def delete(self) -> dict[str, int]:
        """Delete these rows within the open transaction, what depends on others first; how many of which table."""
        return {table.full_table_name: self._delete(table) for table in reversed(self.tables)}

    def _delete(self, table: Any) -> int:
        delete: Any = dj.Table.delete_quick
        return int(delete(table, get_count=True))


class Cascade(Alone):
    """Rows of a table with all that depend on them, as DataJoint's ``delete`` finds and deletes them."""

    def __init__(self, table: Any, part_integrity: str) -> None:
        self.tables = list(dj.Diagram.cascade(seed(table), part_integrity=part_integrity))
        self._enforced = part_integrity == "enforce"

    def delete(self) -> dict[str, int]:
        """Delete these rows within the open transaction, what depends on others first; how many of which table.

        Raises
        ------
        BlockedError
            Rows that stay depend on them.
        DataJointError
            Rows of a part would be deleted without their master.
        """
        names, connection = [table.full_table_name for table in self.tables], self.tables[0].connection
        try:
            counts = super().delete()
        except IntegrityError as error:
            found = connection.adapter.parse_foreign_key_error(error.args[0])
            raise BlockedError(found and str(found["child"]), names) from None
        except DataJointError:
            raise
        except Exception as error:
            # DataJoint does not know every refusal; where the driver's error says what depends, it is one.
            told: Any = getattr(error, "diag", None)
            if not getattr(told, "constraint_name", None):
                raise
            raise BlockedError(full_name(connection, told.schema_name, told.table_name), names) from None
        for name, count in counts.items():
            dj.logger.info(f"Deleting {count} rows from {name}")
            master = extract_master(name)
            if self._enforced and count and master and not counts.get(master):
                raise DataJointError(
                    f"Attempt to delete part table {name} before its master {master}. Delete from the master first, "
                    "or use part_integrity='ignore' or 'cascade'."
                )
        return counts


class BlockedError(DataJointError):
    """Rows depend on what is to be deleted, and are not deleted with it.

    Attributes
    ----------
    child : str or None
        The quoted full name of their table, as far as the server tells it.
    is_news : bool
        Whether rows of it were deleted: those must have come meanwhile.
    """

    def __init__(self, child: str | None, tables: Sequence[str]) -> None:
        super().__init__(
            f"Delete blocked by table {child} in an unloaded schema. Activate all dependent schemas before deleting."
            if child
            else "Delete blocked by FK in unloaded/inaccessible schema."
        )
        self.child = child
        self.is_news = child is not None and any(name.endswith(child) for name in tables)


def tables_to_drop(table: Any, part_integrity: str) -> list[Any]:
    """The tables that DataJoint's ``drop`` would drop: a table with its parts and all that depends on them, last first.

    Raises
    ------
    DataJointError
        A part would be dropped without its master.
    """
    if part_integrity not in ("enforce", "ignore"):
        raise ConfigError(f"part_integrity must be 'enforce' or 'ignore' for drop, not {part_integrity!r}.")
    table.connection.dependencies.load_all_downstream()
    diagram = dj.Diagram(table)
    names = set(networkx.descendants(diagram, table.full_table_name)) | {table.full_table_name}
    diagram.nodes_to_show, diagram._expanded_nodes = names, set(names)
    found = list(diagram)
    for name in (each.full_table_name for each in found) if part_integrity == "enforce" else ():
        master = extract_master(name)
        if master and master not in names:
            raise DataJointError(f"Attempt to drop part table {name} before its master {master}: drop that first.")
    return found[::-1]


def dependents(connection: Any, tables: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Some tables and all whose rows depend on theirs, in whatever schema, each with its schema; what depends last.

    Rows of parts depend on one another: of a part that is found its master and the other parts are found as well.
    """
    graph = connection.dependencies
    graph.clear()  # others may have declared tables
    graph.load_all_downstream()
    found = {full_name(connection, *table) for table in tables} & set(graph)
    grown = 0
    while grown < len(found):
        grown = len(found)
        # By name, whatever characters are in it.
        found |= {master for name in found if (master := name.rpartition("__")[0] + name[-1]) in graph}
        found = found.union(*(networkx.descendants(graph, name) for name in found))
    return [parted(name) for name in graph.topo_sort() if name in found]


def parted(full_name: str) -> tuple[str, str]:
    """Schema and table of a quoted full name."""
    quote = full_name[0]
    schema, table = full_name[1:-1].split(f"{quote}.{quote}")
    return schema, table


def seed(table: Any) -> Any:
    """A restricted table as DataJoint's cascade understands it.

    It takes the conditions of a table for what a user has written, and doubles percent signs that stand twice already.
    """
    if is_limited(table):
        return table  # by the keys that it selects
    table = copy.copy(table)
    conditions = (c.replace("%%", "%") if isinstance(c, str) else c for c in table.restriction)
    table._restriction = dj.AndList(conditions)
    return table


def attempt(connection: dj.Connection, statement: str) -> bool:
    """Run a statement within a transaction, which goes on where it fails; whether it did not."""
    connection.query("SAVEPOINT datajoint_link")
    try:
        connection.query(statement)
    except DataJointError:
        connection.query("ROLLBACK TO SAVEPOINT datajoint_link")
        return False
    return True


# queries


def where_clause(expression: Any) -> str:
    """The restriction of a query as SQL, without the word WHERE; empty where there is none."""
    return str(expression.where_clause()).strip().removeprefix("WHERE")


def is_restricted_table(expression: Any) -> bool:
    """Whether a query is a table and conditions on its own attributes, and nothing else."""
    if expression._top is not None or expression._distinct or expression.heading.new_attributes:
        return False
    return len(expression.support) == 1 and isinstance(expression.support[0], str)


def counts_rows(expression: Any) -> bool:
    """Whether previews say how many rows there are: they are counted then."""
    return bool(expression.connection._config["display.show_tuple_count"])


def is_plain(expression: Any) -> bool:
    """Whether conditions on a table, by its name, can be added to a query: it reads that table, and nothing else."""
    return expression._top is None and len(expression.support) == 1 and isinstance(expression.support[0], str)


def with_condition(expression: Any, condition: str) -> Any:
    """A query on a table with one more condition, by the full names of its columns; DataJoint does not look at it."""
    result = copy.copy(expression)
    result._restriction = dj.AndList([*expression.restriction, condition])
    return result


def key_of_table(expression: Any) -> list[str]:
    """The primary key of the table that a query restricts, and nothing else; empty for other queries."""
    return list(expression.primary_key) if is_restricted_table(expression) else []


def renamed_key(expression: Any) -> dict[str, str] | None:
    """The attributes of a query's key that are not the table's own, and what they are; None where it has no key."""
    if expression._distinct:
        return None
    heading = expression.heading
    changed = [name for name in heading.primary_key if name in heading.new_attributes]
    return {name: str(heading[name].original_name) for name in changed}


def is_whole_table(given: Any) -> bool:
    """Whether a query is a table, and all of it."""
    return hasattr(given, "full_table_name") and is_restricted_table(given) and not given.restriction


def are_of_one_table(one: Any, other: Any) -> bool:
    """Whether two queries are the same table, each with conditions of its own, and the one still has its key."""
    are_tables = is_plain(one) and is_plain(other) and is_restricted_table(other)
    has_key = set(other.primary_key) <= set(one.heading.names) - set(one.heading.new_attributes)
    return bool(are_tables and has_key and one.support == other.support and one.connection is other.connection)


def is_query(given: Any) -> bool:
    """Whether something is a query, or a class of tables."""
    return isinstance(given, QueryExpression) or (isinstance(given, type) and issubclass(given, QueryExpression))


def heading_of(expression: Any, names: Collection[str]) -> Heading:
    """The heading of a query with some of its attributes, as they are."""
    heading = expression.heading.make_subquery_heading()
    return cast(Heading, heading.select(names))


def lineage_of(expression: Any, name: str) -> str | None:
    """Where an attribute comes from, as far as DataJoint knows."""
    lineage: str | None = expression.heading[name].lineage
    return lineage


def traced(expression: Any, name: str) -> Iterator[tuple[tuple[str, str], str]]:
    """The columns that an attribute may be, each with the schema and name of its table; none of one that is computed.

    A table need not have such a column, where there are others.
    """
    attribute = expression.heading[name]
    computed = attribute.attribute_expression
    if computed is not None and not re.fullmatch(r'`[^`]+`|"[^"]+"', computed):
        return
    original = attribute.original_name
    for support in expression.support:
        if isinstance(support, str):
            yield parted(support), original
        elif original in support.heading.names:
            yield from traced(support, original)


def is_limited(expression: Any) -> bool:
    """Whether a query takes only some of its rows, as with ``dj.Top``."""
    return expression._top is not None


def inherit_language(query: Any, of: Any) -> None:
    """Let a query that selects from another quote names as its server does, when attributes get new names."""
    query.heading.table_info = of.heading.table_info


def is_aggregation(expression: Any) -> bool:
    """Whether a query counts, or the like, for each of some rows."""
    return isinstance(expression, Aggregation)


def has_subquery(expression: Any) -> bool:
    """Whether conditions of a query look up rows."""
    return bool(re.search(r"\bSELECT\b", where_clause(expression), re.IGNORECASE))


def quoted(expression: Any, names: Sequence[str]) -> list[str]:
    """Attributes, quoted for the server of a query."""
    return list(map(expression.connection.adapter.quote_identifier, names))
