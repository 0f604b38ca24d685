"""What ``@link`` was given, checked and frozen. Nothing here connects anywhere."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, cast

from .addresses import Address, agree, completed_by, parse_host
from .errors import ConfigError
from .host import connection_of, from_camel_case, is_camel_case, schema_given, table_of
from .links_file import NamedSource, source_named
from .model.backends import BACKENDS
from .model.graph import class_of
from .model.layouts import LINK, Layout
from .model.mapping import Mirror
from .model.served import Tie
from .tls import Tls, parse_tls


@dataclass(frozen=True)
class Reference:
    """A local store through which linked rows point at the source's own objects; see :func:`reference`."""

    store: str


def reference(store: str) -> Reference:
    """Let linked rows point at the source's objects instead of copying them.

    For ``stores=`` of :func:`link.link`. Every object is looked for before a row points at it.

    Parameters
    ----------
    store : str
        A local store that is configured, best with credentials that may only read, on the very place where the
        source's store is.

    Returns
    -------
    Reference
        What ``stores=`` takes in place of the local store's name.

    Raises
    ------
    ConfigError
        It is no name.

    Examples
    --------
    >>> @link(..., stores={"raw": reference("raw_of_lab_a")})
    ... class Recording: ...
    """
    if not isinstance(store, str) or not store:
        raise ConfigError(f"reference() takes the name of a local store, not {store!r}.")
    return Reference(store)


#: What may read local tables.
READERS = ("2.x", "0.x")

#: What a pull may do about rows that are local, not held, and not what the source has; first what it does unasked.
CONFLICTS = ("keep", "raise", "skip", "replace")

#: The local store for one of the source; or both, where the source's goes by another name in these settings.
LocalStore = str | tuple[str, str] | Reference


def names_of(store: str, local: LocalStore) -> tuple[str, str]:
    """The names in these settings of a store of the source, and of the local store that ``stores=`` gives for it."""
    if isinstance(local, Reference):
        return local.store, local.store
    return local if isinstance(local, tuple) else (store, local)


@dataclass(frozen=True)
class LinkSpec:
    """Everything that identifies one link, and how its class wants it.

    Attributes
    ----------
    store_pairs : tuple
        Each store of the source, with what ``stores=`` gives for it.
    codec_pairs : tuple
        Columns, with what ``codecs=`` takes them for.
    datajoint : str
        The DataJoint that reads the local tables: ``"2.x"``, or ``"0.x"`` for 0.12 to 0.14.
    conflicts : str
        What a pull does about local rows that are not what the source has, unless it is told.
    holder : str or None
        Who holds, in words for people at the source.
    parts_named : frozenset of str
        Part classes that the body of the decorated class names; each must be there.
    create_schema, create_tables : bool
        Whether the local schema, and the local tables, may be created where they are missing.
    class_there : str or None
        The class of the table at the source, where it goes by another name here.
    source_table, local_table : str or None
        The exact names of the master tables, where they do not follow from the class.
    mirror : Mirror or None
        Of a pipeline: the local tables are what the source's are.
    named : NamedSource or None
        The source, if it has a name in a ``links.toml``: whose account is taken.
    """

    class_name: str
    address: Address
    source_schema: str
    helper_schema: str
    helper_table: str
    local_schema: str
    store_pairs: tuple[tuple[str, LocalStore], ...]
    use_tls: Tls
    codec_pairs: tuple[tuple[str, str], ...] = ()
    datajoint: str = READERS[0]
    layout: Layout = LINK
    conflicts: str = field(default=CONFLICTS[0], compare=False)
    holder: str | None = field(default=None, compare=False)
    parts_named: frozenset[str] = field(default=frozenset(), compare=False)
    create_schema: bool = field(default=True, compare=False)
    create_tables: bool = field(default=True, compare=False)
    class_there: str | None = None
    source_table: str | None = None
    local_table: str | None = None
    mirror: Mirror | None = None
    named: NamedSource | None = None

    @property
    def stores(self) -> Mapping[str, LocalStore]:
        """The local store for each of the source's."""
        return MappingProxyType(dict(self.store_pairs))

    @property
    def codecs(self) -> Mapping[str, str]:
        """What columns are taken for, whatever the source says."""
        return MappingProxyType(dict(self.codec_pairs))

    @property
    def for_legacy(self) -> bool:
        """Whether DataJoint 0.12 to 0.14 reads the local tables."""
        return self.datajoint == READERS[1]

    def for_linked(self, here: tuple[str, str], tie: Tie) -> LinkSpec:
        """The same of another linked table of both servers, as far as that is noted beside it here."""
        (source_schema, source_table), (helper_schema, helper_table) = tie.table, tie.helper
        return replace(
            self,
            class_there=None,
            class_name=class_of(source_table),
            source_schema=source_schema,
            source_table=source_table,
            helper_schema=helper_schema,
            helper_table=helper_table,
            local_schema=here[0],
            local_table=here[1],
            codec_pairs=(),
            parts_named=frozenset(),
            mirror=None,
        )

    @property
    def table_name(self) -> str:
        """The local table's name."""
        return self.local_table or self.class_table

    @property
    def class_table(self) -> str:
        """The name of a local table of the class, behind the prefix of its tier."""
        return from_camel_case(self.class_name)

    @property
    def source_class(self) -> str:
        """The class of the table at the source."""
        return self.class_there or self.class_name

    @property
    def way_to_say_moved(self) -> str:
        """What is called once where the local server has been moved or restored."""
        one = f"{self.class_name}.source.moved()"
        return f"{one}; or, for all tables of a pipeline, its moved()" if self.mirror else one

    def find_helper_schema(self) -> str:
        """The schema of the helper table; asked for when it is first needed."""
        return self.helper_schema


def make_spec(
    class_name: str,
    host: str | NamedSource,
    schemas: Mapping[str, str],
    helper_table: str,
    *,
    stores: Mapping[str, LocalStore] | None,
    codecs: Mapping[str, str] | None = None,
    datajoint: str = READERS[0],
    backend: str | None,
    database: str | None,
    port: int | None,
    use_tls: bool | Mapping[str, Any] | None,
    conflicts: str = CONFLICTS[0],
    holder: str | None = None,
    parts_named: frozenset[str] = frozenset(),
    table: str | None = None,
) -> LinkSpec:
    """Check the arguments of ``@link`` as far as that goes without a server.

    Raises
    ------
    ConfigError
        An argument is of the wrong kind, or two contradict each other.
    """
    named = host if isinstance(host, NamedSource) else source_named(host)
    address = named.address if named else parse_host(cast(str, host))
    require_backend(backend)
    for what, name in {**schemas, "helper_table": helper_table}.items():
        if not isinstance(name, str) or not name:
            raise ConfigError(f"{what} must be a name, not {name!r}.")
    for what in ("source_schema", "local_schema"):
        require_schema_name(what, schemas[what])
    if stores is not None and not _is_mapping_of_stores(stores):
        raise ConfigError(
            'stores must map names to names: stores={"source_store": "local_store"}.',
            'Or to reference("local_store"), or to a pair: the name of the source\'s store in these settings, and the '
            "local store.",
        )
    if table is not None and not (isinstance(table, str) and is_camel_case(table)):
        raise ConfigError(
            f"table must be the class of the source table, in CamelCase, not {table!r}.",
            'Such as table="Unit" for the table unit; the local table is named by the class that is decorated.',
        )
    require_codecs(codecs)
    require_reader(datajoint)
    require_conflicts(conflicts)
    if named:
        use_tls = agree("use_tls", use_tls, named.place, named.use_tls)
    if holder is not None and (not isinstance(holder, str) or not holder.strip() or not holder.isprintable()):
        raise ConfigError(f"holder must be a short text, who holds in words, not {holder!r}.", 'Such as "Lab B".')
    said_by = named.place if named else "the host"
    address = completed_by(address, said_by, port=port, backend=backend, database=database)
    return LinkSpec(
        class_name=class_name,
        address=address,
        source_schema=schemas["source_schema"],
        helper_schema=schemas["helper_schema"],
        helper_table=table_of(helper_table),
        local_schema=schemas["local_schema"],
        # DataJoint writes the default store as an empty name, and configures it as "default".
        store_pairs=tuple(("" if name == "default" else name, store) for name, store in (stores or {}).items()),
        use_tls=parse_tls(use_tls),
        codec_pairs=tuple((codecs or {}).items()),
        datajoint=datajoint,
        conflicts=conflicts,
        holder=holder,
        parts_named=parts_named,
        class_there=table,
        named=named,
    )


@dataclass(frozen=True)
class PipelineSpec:
    """What a :class:`~link.pipeline.Pipeline` was given, checked.

    Attributes
    ----------
    schemas : tuple of tuple of str
        Schemas at the source, and the local ones.
    prefix : str or None
        What stands before the local names of schemas that are not named, if ancestors may come from such ones.
    named : NamedSource or None
        The source, if it has a name in a ``links.toml``.
    name : str or None
        The pipeline's own name there.
    """

    address: Address
    schemas: tuple[tuple[str, str], ...]
    helper_schema: str
    prefix: str | None
    store_pairs: tuple[tuple[str, LocalStore], ...]
    codec_pairs: tuple[tuple[str, str], ...]
    use_tls: Tls
    holder: str | None
    named: NamedSource | None = None
    name: str | None = None

    def here(self, schema: str) -> str | None:
        """The local schema for one of the source's, if it has one."""
        named = dict(self.schemas).get(schema)
        return named if named is not None or self.prefix is None else self.prefix + schema

    def there(self, schema: str) -> str | None:
        """The source's schema for a local one, if that can be one of these."""
        named = {ours: theirs for theirs, ours in self.schemas}.get(schema)
        is_other = named is None and self.prefix and schema.startswith(self.prefix)
        return schema.removeprefix(self.prefix or "") if is_other else named


def make_pipeline_spec(
    host: str | NamedSource,
    schemas: Mapping[str, str] | Sequence[str],
    helper_schema: str,
    *,
    prefix: str | None,
    stores: Mapping[str, LocalStore] | None,
    codecs: Mapping[str, str] | None,
    backend: str | None,
    database: str | None,
    port: int | None,
    use_tls: bool | Mapping[str, Any] | None,
    holder: str | None,
    name: str | None = None,
) -> PipelineSpec:
    """Check the arguments of ``Pipeline`` as far as that goes without a server.

    Raises
    ------
    ConfigError
        An argument is of the wrong kind, or two contradict each other.
    """
    pairs = _paired_schemas(schemas, prefix)
    spec = make_spec(
        "Pipeline",
        host,
        {"source_schema": pairs[0][0], "helper_schema": helper_schema, "local_schema": pairs[0][1]},
        "outbound",
        stores=stores,
        backend=backend,
        database=database,
        port=port,
        use_tls=use_tls,
        holder=holder,
    )
    require_own_helper_schema(helper_schema, dict(pairs))
    require_codecs(codecs)
    for column in codecs or {}:
        schema = column.partition(".")[0]
        if column.count(".") < 2 or (prefix is None and schema not in dict(pairs)):
            raise ConfigError(
                f"codecs= names {column!r}, which is no column of the pipeline's.",
                'Such as codecs={"ephys.Unit.waveform": "bytes"}, or "ephys.Unit.Spike.trace" of a part; schemas are '
                f"{', '.join(dict(pairs))}.",
            )
    return PipelineSpec(
        address=spec.address,
        schemas=pairs,
        helper_schema=helper_schema,
        prefix=prefix,
        store_pairs=spec.store_pairs,
        codec_pairs=tuple((codecs or {}).items()),
        use_tls=spec.use_tls,
        holder=holder,
        named=spec.named,
        name=name,
    )


def _paired_schemas(schemas: Mapping[str, str] | Sequence[str], prefix: str | None) -> tuple[tuple[str, str], ...]:
    """The source's schemas and the local ones, one for one."""
    if prefix is not None and not isinstance(prefix, str):
        raise ConfigError(f"prefix must be a text, not {prefix!r}.", 'Such as prefix="a_".')
    if isinstance(schemas, Mapping):
        pairs = tuple(schemas.items())
    elif isinstance(schemas, Sequence) and not isinstance(schemas, (str, bytes)):
        pairs = tuple((schema, f"{prefix or ''}{schema}") for schema in schemas)
    else:
        raise ConfigError(f"schemas= must be a mapping or a list, not {schemas!r}.", _SCHEMAS)
    if not pairs:
        raise ConfigError("schemas= names none.", _SCHEMAS)
    for pair in pairs:
        for name in pair:
            if not isinstance(name, str):
                raise ConfigError(f"schemas= is of names, not of {name!r}.", _SCHEMAS)
            require_schema_name("schemas", name)
    for place, of in enumerate(("source's", "local")):
        names = [pair[place] for pair in pairs]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ConfigError(f"schemas= names the {of} schema {twice!r} twice.", _SCHEMAS)
    return pairs


_SCHEMAS = (
    'Such as schemas={"subject": "a_subject", "ephys": "a_ephys"}: theirs, and ours, which may be a dj.Schema; '
    'or ["ephys"] with prefix="a_".'
)


def require_reader(datajoint: object) -> None:
    """Raise ConfigError for what names no DataJoint that could read the local tables."""
    if datajoint not in READERS:
        raise ConfigError(
            f"datajoint={datajoint!r} is not known.",
            "It says what reads the local tables: '2.x', or '0.x' for DataJoint 0.12 to 0.14.",
        )


def require_own_helper_schema(helper_schema: str, schemas: Collection[str]) -> None:
    """Raise ConfigError for a pipeline whose link user would have all rights on a schema that it pulls from."""
    if helper_schema in schemas:
        raise ConfigError(
            f"helper_schema={helper_schema!r} is one of the schemas to pull from.",
            "Rows are held in a schema of its own at the source, which the link user may write to.",
        )


def require_backend(backend: object) -> None:
    """Raise ConfigError for what is no kind of server, if something is given."""
    if backend is not None and (not isinstance(backend, str) or backend not in BACKENDS):
        raise ConfigError(f"backend={backend!r} is not known.", "Use 'mysql' (also for MariaDB) or 'postgresql'.")


def require_at_least(**least: tuple[Any, int]) -> None:
    """Raise ConfigError for a number that is too small, or none."""
    for name, (value, bound) in least.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < bound):
            raise ConfigError(f"{name} must be at least {bound}, not {value!r}.")


def require_switch(**given: Any) -> None:
    """Raise ConfigError for what does not say yes or no, such as a condition that stands where others take one."""
    for name, value in given.items():
        if value not in (True, False):
            raise ConfigError(
                f"{name} must be True or False, not {value!r}.",
                "Of which rows is said before: (Unit.source & 'subject_id = 7').verify(); of a pipeline by tables=.",
            )


def require_conflicts(conflicts: object) -> None:
    """Raise ConfigError for what is no word for conflicts."""
    if conflicts not in CONFLICTS:
        raise ConfigError(
            f"conflicts={conflicts!r} is not known.",
            "What becomes of local rows that are not held and not what the source has: 'keep' holds them as they are, "
            "'raise' is an error before anything is held, 'skip' leaves them alone, 'replace' brings them to the "
            "source's content.",
        )


def require_dependents(dependents: object) -> None:
    """Raise ConfigError for what is no word for what becomes of dependent rows."""
    if dependents not in ("report", "delete"):
        raise ConfigError(f"dependents must be 'report' or 'delete', not {dependents!r}.")


def require_codecs(codecs: object) -> None:
    """Raise ConfigError where ``codecs=`` does not name columns and what they are taken for."""
    if codecs is None:
        return
    if not isinstance(codecs, Mapping) or not all(isinstance(n, str) for pair in codecs.items() for n in pair):
        raise ConfigError(f"codecs must map columns to what they are taken for, not {codecs!r}.", _CODECS)
    for column, word in codecs.items():
        if not re.fullmatch(r"bytes|json|<[^<>@:]+>", word):
            raise ConfigError(f"codecs={{{column!r}: {word!r}}} is no word for a column.", _CODECS)


_CODECS = (
    "Such as codecs={'waveform': 'bytes', 'graph': '<graph>', 'Spike.trace': '<blob>'}: a part's behind its class."
)


def _is_mapping_of_stores(stores: object) -> bool:
    return isinstance(stores, Mapping) and all(isinstance(n, str) and _is_local_store(s) for n, s in stores.items())


def _is_local_store(store: object) -> bool:
    pair = isinstance(store, tuple) and len(store) == 2 and all(isinstance(name, str) for name in store)
    return pair or isinstance(store, (str, Reference))


def local_side(argument: str, given: Any, connection: Any) -> tuple[Any, Any]:
    """A local schema's name, and what stands for the local connection.

    Raises
    ------
    ConfigError
        A schema of DataJoint's stands for another connection than is given, or for none.
    """
    found = schema_given(argument, given)
    if found is None:
        return given, connection
    name, own = found
    if connection is not None and connection_of(connection) is not own:
        raise ConfigError(
            f"{argument}= has the dj.Schema {name!r}, which is on another connection than what else is given.",
            "All is on one local server: leave connection= out, or give the name of the schema.",
        )
    return name, own


def local_sides(schemas: Any, connection: Any) -> tuple[Any, Any]:
    """The same of a mapping of schemas, theirs to ours."""
    if not isinstance(schemas, Mapping):
        return schemas, connection
    named = {}
    for theirs, ours in schemas.items():
        named[theirs], connection = local_side("schemas", ours, connection)
    return named, connection


def require_schema_name(what: str, name: object) -> None:
    """Raise ConfigError for a schema that DataJoint cannot read."""
    if not isinstance(name, str) or not name:
        raise ConfigError(f"{what} must be a name, not {name!r}.")
    if re.search(r"[\s.%`\"]", name):
        raise ConfigError(f"{what}={name!r}: DataJoint reads no schemas with such characters.")
