"""The tables of a pipeline's source by name, which are queries there.

Schemas are modules, tables their classes, as with ``dj.VirtualModule``. Making them connects nowhere; what is asked for
a table's name or content does.
"""

from __future__ import annotations

import contextlib
import copyreg
import threading
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

import datajoint as dj

from . import host
from .ends.browsing import read_heading
from .ends.linking import Link
from .ends.pipeline import Links
from .errors import ConfigError, LinkError, NotFoundError
from .holds.holds import Holds
from .host import FreeTable
from .model.graph import Graph, Name, class_of, label
from .model.legacy import modernized
from .model.ranges import Selection
from .model.schema import Group, Table, nearest, part_class, part_of_class
from .selections import require_own_key, selection_of
from .servers.site import Site
from .sharing import TOLD, ReadOnly, UnknownNameError, by_entity, unknown_table
from .signals import final
from .typed import TypedMeta


class Theirs:
    """What DataJoint and our own statements know of the tables of a source, read when it is first asked for."""

    def __init__(self, links: Links) -> None:
        self.links = links
        self._lock = threading.RLock()
        self._of: Graph | None = None
        self._groups: dict[Name, Group] = {}
        self._headings: dict[Name, host.Heading] = {}
        self._classes: dict[Name, Any] = {}
        self._schemas: dict[str, SourceSchema] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """For another process, which reads by itself."""
        return Theirs, (self.links,)

    def schema(self, name: str) -> SourceSchema:
        """A schema of the source."""
        return self._schemas.setdefault(name, SourceSchema(self, name))

    def graph(self) -> Graph:
        """The graph of the source; DataJoint knows all of its schemas from then on."""
        with self._lock:
            graph, site = self.links.find_graph(), self.links.connect_source()
            if graph is not self._of:
                _require_fit(self.links, graph)
                with site.turn, site.in_our_words():
                    for schema in sorted({schema for schema, _ in graph.groups}):
                        host.know_schema(site.connection, schema)
                self._of = graph
                for known in (self._groups, self._headings, self._classes):
                    known.clear()
            return graph

    def tables(self, schema: str) -> dict[str, Name]:
        """The groups of a schema by class; where tables of two tiers have one class, by their tables' names."""
        names = [name for name in self.graph().groups if name[0] == schema]
        classes = [class_of(table) for _, table in names]
        return {c if classes.count(c) == 1 else name[1]: name for c, name in zip(classes, names, strict=True)}

    def group(self, name: Name) -> Group:
        """A group, as DataJoint 2 would have declared it."""
        with self._lock:
            graph = self.graph()
            if name not in self._groups:
                self._groups[name] = modernized(graph.groups[name], self.links.link(name).spec.codecs).group
            return self._groups[name]

    def table(self, name: Name, table: str) -> Table:
        """A table of a group."""
        return next(each for each in self.group(name).tables if each.name == table)

    def heading(self, name: Name, table: str) -> host.Heading:
        """DataJoint's heading of a table of a group."""
        with self._lock:
            found = self.table(name, table)
            if (name[0], table) not in self._headings:
                self._headings[name[0], table] = read_heading(self.links.connect_source(), found)
            return self._headings[name[0], table]

    def class_at_source(self, name: Name) -> Any:
        """The class of a group at the source."""
        with self._lock:
            self.graph()
            if name not in self._classes:
                self._classes[name] = _source_class(self, name)
            return self._classes[name]

    def context(self) -> dict[str, Any]:
        """The schemas as DataJoint looks for classes in."""
        return {schema: self.schema(schema) for schema in sorted({name[0] for name in self.graph().groups})}

    def drawing(self, texts: Mapping[Name, str] | None = None) -> dj.Diagram:
        """A diagram of all groups; or of some, each with a line of text.

        Raises
        ------
        CycleError
            Tables stand on one another in a circle, with which DataJoint cannot work.
        NotFoundError
            There are no tables.
        """
        from .drawing import Drawing

        graph, connection = self.graph(), self.links.connect_source().connection
        if not graph.groups:
            raise NotFoundError("There are no tables in the schemas of this pipeline.", "Are their names right?")
        chosen = graph.groups if texts is None else texts
        tables = [table for name in chosen for table in graph.groups[name].tables]
        shown = {host.full_name(connection, table.schema, table.name) for table in tables}
        with self.without_circles():
            return Drawing(self.context(), shown, {label(name): text for name, text in (texts or {}).items()})

    @contextlib.contextmanager
    def without_circles(self) -> Iterator[None]:
        """Tell of the circle in which tables stand on one another, where DataJoint says no more than that it fails."""
        try:
            yield
        except LinkError:
            raise
        except Exception:
            self.graph().order()
            raise


def _require_fit(links: Links, graph: Graph) -> None:
    """Raise ConfigError for what the pipeline was given that does not fit the source."""
    spec, known = links.spec, {label(name) for name in graph.groups}
    for column, _ in spec.codec_pairs:
        named = ".".join(column.split(".")[:2])
        if named not in known:
            raise ConfigError(
                f"codecs= names {column!r}, but there is no {named} at the source.", nearest(named, known)
            )
    homes: dict[str, str] = {}
    for schema in sorted({schema for schema, _ in graph.groups}):
        here = str(spec.here(schema))
        if homes.setdefault(here, schema) != schema:
            raise ConfigError(
                f"The local schema {here!r} would have the tables of two of the source's: {homes[here]} and {schema}.",
                f"Name both in schemas=, with local schemas of their own: {schema!r} and another than {here!r}.",
            )


#: What the source of a linked table does for it, and a pipeline for its tables.
_OF_PIPELINES = ("plan", "pull", "refresh")


class SourceMeta(TypedMeta):
    """The class of a table at the source."""

    _theirs: Theirs
    _group: Name
    _name: str

    @property
    def group(cls) -> Name:
        """The group that the table belongs to."""
        return cls._group

    @property
    def made_of(cls) -> tuple[Any, ...]:
        """What another process makes it of."""
        return cls._theirs, cls._group, cls._name, cls.__qualname__

    @property
    def is_master(cls) -> bool:
        """Whether it is no part of another table."""
        return cls._name == cls._group[1]

    @property
    def connection(cls) -> dj.Connection:
        """DataJoint's connection to the source."""
        cls._theirs.graph()
        return cls._theirs.links.connect_source().connection

    @property
    def table_name(cls) -> str:
        """The table's name."""
        return cls._name

    @property
    def database(cls) -> str:
        """The schema's name."""
        return cls._group[0]

    @property
    def full_table_name(cls) -> str:
        """The table's quoted full name."""
        return host.full_name(cls.connection, cls._group[0], cls._name)

    def __getattr__(cls, name: str) -> Any:
        # Parts are there as attributes; all that comes here is missing.
        if name[:1].isupper() and "_group" in cls.__dict__:
            known = cls._theirs.class_at_source(cls._group)
            if cls.is_master and cls is not known:  # it came from another process, without its parts
                return getattr(known, name)
            parts = [attribute for attribute, value in vars(cls).items() if isinstance(value, SourceMeta)]
            what = f"{label(cls._group)} at the source has no part table {name!r}, as far as the link user sees them."
            schema, master = cls._group
            site = cls._theirs.links.connect_source()
            raise unknown_table(site, what, nearest(name, parts), schema, part_of_class(master, name))
        where = f": it is the pipeline's, lab.{name}(lab.source.{label(cls._group)} & ...)" * (name in _OF_PIPELINES)
        raise AttributeError(f"type object {cls.__name__!r} has no attribute {name!r}{where}")


class SourceTable(ReadOnly, FreeTable, metaclass=SourceMeta):
    """A table of the source: a DataJoint query, also as a class, that nothing can be changed by."""

    _theirs: Theirs
    _group: Name
    _name: str

    def __init__(self) -> None:
        with final():
            heading = self._theirs.heading(self._group, self._name)
            connection = self._theirs.links.connect_source().connection
        full_name = host.full_name(connection, self._group[0], self._name)
        super().__init__(connection, full_name)  # type: ignore[no-untyped-call]
        host.set_heading(self, heading)

    @property
    def _title(self) -> str:
        return f"{self._group[0]}.{type(self).__qualname__}"

    @property
    def for_more_keys(self) -> str:  # type: ignore[override]
        """Who takes any number of keys."""
        return (
            f"A pull of the pipeline takes any number, in batches: lab.pull({self._written}, among=selection); what is "
            "not here yet is in .unshared."
        )

    def _there(self) -> Site:
        return self._theirs.links.connect_source()

    def _table(self) -> Table:
        return self._theirs.table(self._group, self._name)

    def _find_holds(self) -> Holds | None:
        return self._theirs.links.find_holds(self._group)

    def _known_holds(self) -> Holds | None:
        return self._theirs.links.know_holds(self._group)

    def _place(self) -> str:
        return self._title

    @property
    def _written(self) -> str:
        return f"source.{self._title}"

    def _answer(self, name: str) -> str | None:
        if name in _OF_PIPELINES:
            return f"lab.{name}(query) of the pipeline"
        return f"({self._written} & query.proj()).{name}" if name in TOLD else None

    def _own_link(self) -> Link:
        return self._theirs.links.link(self._group)

    def _entities(self) -> Selection:
        query: Any = self
        if not type(self).is_master:
            require_own_key(query)
            master = self._theirs.class_at_source(self._group)()
            query = master & by_entity(query, self._table(), master._table())
        selection = selection_of(query)
        self._there().require_short(selection.condition)
        return selection

    def _whole(self) -> Any:
        return type(self)()

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            return getattr(type(self), name)  # parts, which the class has to look for

    def __copy__(self) -> Any:
        # Which has the same class: DataJoint makes each query of another by a copy.
        copied = object.__new__(type(self))
        vars(copied).update(vars(self))
        return copied

    def __reduce__(self) -> tuple[Any, ...]:
        # With all that makes the class, which pickles of other kinds (cloudpickle) would take to pieces.
        return _blank, type(self).made_of, vars(self)

    def describe(self, context: Any = None, printout: bool = False) -> str:
        """The definition of the table, which names the source's tables by their schemas and classes."""
        named = self._theirs.context() if context is None else context
        with self._theirs.without_circles():
            return str(super().describe(context=named, printout=printout))

    def __repr__(self) -> str:
        return str(super(FreeTable, self).__repr__())  # type: ignore[no-untyped-call]


def _class_from(theirs: Theirs, group: Name, name: str, title: str) -> SourceMeta:
    """A class that was made in another process, without its parts; nothing is read for it."""
    facts = {"_theirs": theirs, "_group": group, "_name": name, "__module__": group[0], "__qualname__": title}
    return SourceMeta(title.rpartition(".")[2], (SourceTable,), facts)


def _blank(*made: Any) -> Any:
    """A query of such a class, which is to be given its state."""
    blank: Any = object
    return blank.__new__(_class_from(*made))


def _reduced(cls: SourceMeta) -> tuple[Any, ...] | str:
    """How a class is pickled that another process finds in no module."""
    return (_class_from, cls.made_of) if "_group" in vars(cls) else cls.__qualname__


copyreg.pickle(SourceMeta, _reduced)


def _source_class(theirs: Theirs, name: Name) -> Any:
    """The class of a group at the source, with its parts."""
    group = theirs.graph().groups[name]

    def made(table: Table, title: str, qualified: str, **more: Any) -> Any:
        facts = {"_theirs": theirs, "_group": name, "_name": table.name, "__module__": name[0]}
        comment = {"__doc__": table.comment.partition(":")[2] or table.comment, "__qualname__": qualified}
        return SourceMeta(title, (SourceTable,), {**facts, **comment, **more})

    title = class_of(name[1])
    parts = {part_class(name[1], part.name): part for part in group.parts}
    return made(
        group.master,
        title,
        title,
        **{part: made(table, part, f"{title}.{part}") for part, table in parts.items()},
    )


class NamedSchema(ModuleType):
    """Tables of one schema as classes of a module."""

    def _names(self) -> dict[str, Name]:
        raise NotImplementedError

    def _find(self, name: str) -> Any:
        raise NotImplementedError

    def __getattr__(self, name: str) -> Any:
        if not name[:1].isupper():
            raise AttributeError(f"{self!r} has no attribute {name!r}")
        with final():
            return self._find(name)

    def __getitem__(self, name: str) -> Any:
        with final():
            return self._find(name)

    #: Brackets alone would make it a sequence to Python.
    __iter__ = None

    def __dir__(self) -> list[str]:
        # A list of names is asked for in passing; errors are for who uses one.
        with contextlib.suppress(LinkError):
            return sorted(name for name in self._names() if name.isidentifier() and name[:1].isupper())
        return []


def named(known: Mapping[str, Name], name: str) -> Name | None:
    """The group of a class, or of a table."""
    return known.get(name) or next((group for group in known.values() if group[1] == name), None)


class SourceSchema(NamedSchema):
    """A schema of the source: its tables are classes, and queries there.

    Parameters
    ----------
    theirs : Theirs
        What is known of the source.
    schema : str
        The schema's name there.
    """

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> type[SourceTable]: ...
        def __getitem__(self, name: str) -> type[SourceTable]: ...

    def __init__(self, theirs: Theirs, schema: str) -> None:
        super().__init__(schema)
        self._theirs = theirs
        self.database = schema

    @property
    def connection(self) -> dj.Connection:
        """DataJoint's connection to the source."""
        self._theirs.graph()
        return self._theirs.links.connect_source().connection

    def _names(self) -> dict[str, Name]:
        return self._theirs.tables(self.database)

    def _find(self, name: str) -> Any:
        if (found := named(self._names(), name)) is None:
            self._theirs.links.forget()  # it may be new
            found = named(known := self._names(), name)
        if found is None:
            site = self._theirs.links.connect_source()
            what = (
                f"The link user {site.user!r} sees no table {self.database}.{name} on the source server {site.address}."
            )
            raise unknown_table(site, what, nearest(name, known), self.database, host.table_of(name))
        return self._theirs.class_at_source(found)

    def __repr__(self) -> str:
        return f"<schema {self.database} at {self._theirs.links.spec.address.host}>"


class SourceSchemas:
    """The schemas of a source, as attributes or in brackets."""

    def __init__(self, theirs: Theirs) -> None:
        self._theirs = theirs

    def __getitem__(self, name: str) -> SourceSchema:
        with final():
            require_schema(self._theirs, name)
        return self._theirs.schema(name)

    __iter__ = None

    def __getattr__(self, name: str) -> SourceSchema:
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]

    def __dir__(self) -> list[str]:
        return schemas_to_show(self._theirs.links)

    def __repr__(self) -> str:
        named = ", ".join(theirs for theirs, _ in self._theirs.links.spec.schemas)
        return f"<the source at {self._theirs.links.spec.address.host}: {named}>"


def schemas_to_show(links: Links) -> list[str]:
    """The names of schemas that can be attributes."""
    return sorted(theirs for theirs, _ in links.spec.schemas if theirs.isidentifier() and not theirs.startswith("_"))


def require_schema(theirs: Theirs, name: str, here: bool = False) -> None:
    """Raise UnknownNameError for a schema that is not one of the pipeline's."""
    spec = theirs.links.spec
    named = [schema for schema, _ in spec.schemas]
    if name in named:
        return
    local = spec.here(name) if isinstance(name, str) else None
    if local is not None:  # behind a prefix: any that their tables lead to
        if here:
            with theirs.links.connect_local().catalogue() as catalogue:
                if catalogue.has_schema(local):
                    return
        known = {schema for schema, _ in theirs.graph().groups}
        if name in known:
            return
        named = sorted(known)
    raise UnknownNameError(
        f"This pipeline has no schema {name!r}.",
        f"{nearest(str(name), named)} Schemas go by the source's names on both sides; further ones are named in "
        "schemas=.",
    )
