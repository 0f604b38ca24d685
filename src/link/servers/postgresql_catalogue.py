"""Reading the catalogue of PostgreSQL."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Any, ClassVar

from ..errors import DefinitionError
from ..model.kinds import Kind, default_of, marked
from ..model.schema import Column, ForeignKey, Index, Table, listed_indexes, part_name
from . import mysql_types, postgresql_types
from .catalogue import Catalogue, Fact
from .dialect import Dialect, linkable_kind, plain
from .postgresql import PostgreSQL
from .postgresql_session import PostgreSQLSession
from .rights import LINEAGE, MemberRights

#: What fits in a B-tree, less what is beside the values.
_INDEXED_BYTES = 2600
_OID = (
    "(SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE nspname = %s AND relname = %s)"
)
_TABLES = "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
#: The policies for SELECT that apply to the account.
_OF_ACCOUNT = (
    "SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND p.polcmd IN ('r', '*') AND EXISTS "
    "(SELECT 1 FROM unnest(p.polroles) AS role WHERE CASE role WHEN 0 THEN true ELSE pg_has_role(role, 'USAGE') END)"
)
_TABLE = (
    "obj_description(c.oid, 'pg_class')",
    "(SELECT string_agg(i.inhrelid::regclass::text, ', ') FROM pg_inherits i "
    "WHERE i.inhparent = c.oid AND c.relkind = 'r')",
    "c.relpersistence = 'u'",
    # Whether policies apply to the account, but for such as show it all rows.
    f"row_security_active(c.oid) AND NOT (EXISTS ({_OF_ACCOUNT} AND p.polpermissive "
    f"AND pg_get_expr(p.polqual, p.polrelid) = 'true') AND NOT EXISTS ({_OF_ACCOUNT} AND NOT p.polpermissive))",
    "row_security_active(c.oid)",
    "EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid)",
)
_COLUMNS = (
    "a.attnum",
    "a.attname",
    "format_type(a.atttypid, a.atttypmod)",
    "NOT a.attnotnull",
    "CASE WHEN a.attgenerated = '' THEN pg_get_expr(d.adbin, d.adrelid) END",
    "col_description(a.attrelid, a.attnum)",
    "CASE WHEN a.attcollation <> t.typcollation THEN quote_ident(o.nspname) || '.' || quote_ident(l.collname) END",
    "a.attidentity <> '' OR (a.attnotnull "
    "AND a.atttypid IN ('smallint'::regtype, 'integer'::regtype, 'bigint'::regtype) "
    # A sequence of its own, and not one that is asked for its next number elsewhere as well.
    "AND pg_get_expr(d.adbin, d.adrelid) LIKE 'nextval(%%' AND EXISTS (SELECT 1 FROM pg_depend own "
    "JOIN pg_depend used ON used.classid = 'pg_attrdef'::regclass AND used.objid = d.oid "
    "AND used.refclassid = 'pg_class'::regclass AND used.refobjid = own.objid "
    "WHERE own.classid = 'pg_class'::regclass AND own.refclassid = 'pg_class'::regclass "
    "AND own.refobjid = a.attrelid AND own.refobjsubid = a.attnum AND own.deptype IN ('a', 'i')))",
    "a.attgenerated <> ''",
    "(SELECT array_agg(e.enumlabel::text ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = a.atttypid)",
    "quote_ident(s.nspname) || '.' || quote_ident(t.typname)",
)
_OF_COLUMNS = (
    f"{_TABLES} JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped "
    "JOIN pg_type t ON t.oid = a.atttypid JOIN pg_namespace s ON s.oid = t.typnamespace "
    "LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum "
    "LEFT JOIN pg_collation l ON l.oid = a.attcollation LEFT JOIN pg_namespace o ON o.oid = l.collnamespace"
)
# Of a foreign key as the key that it refers to has its columns: other servers take no other order.
_IN_ORDER = (
    "ORDER BY (SELECT array_position(i.indkey::int2[], k.confkey[u.n]) FROM pg_index i "
    "WHERE i.indexrelid = k.conindid), u.n"
)
_KEYS = (
    "k.contype::text",
    "fn.nspname",
    "f.relname",
    f"(SELECT array_agg(a.attname::text {_IN_ORDER}) FROM unnest(k.conkey) WITH ORDINALITY u(num, n) "
    "JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.num)",
    f"(SELECT array_agg(a.attname::text {_IN_ORDER}) FROM unnest(k.confkey) WITH ORDINALITY u(num, n) "
    "JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.num)",
    "k.conname::text",
)
_OF_KEYS = (
    # A foreign key to a partitioned table has children, one to each partition.
    f"{_TABLES} JOIN pg_constraint k ON k.conrelid = c.oid AND k.contype IN ('p', 'f') AND k.conparentid = 0 "
    "LEFT JOIN pg_class f ON f.oid = k.confrelid LEFT JOIN pg_namespace fn ON fn.oid = f.relnamespace"
)
_INDEXES = (
    "(SELECT array_agg(a.attname::text ORDER BY u.n) FROM unnest(i.indkey) WITH ORDINALITY u(num, n) "
    "JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = u.num WHERE u.n <= i.indnkeyatts)",
    "i.indisunique",
    "CASE WHEN i.indexprs IS NOT NULL THEN 'it is of an expression' WHEN i.indpred IS NOT NULL "
    "THEN 'it is of some rows only' WHEN m.amname <> 'btree' THEN 'it is of the type ' || m.amname "
    # Since version 15.
    "WHEN to_jsonb(i) ->> 'indnullsnotdistinct' = 'true' THEN 'it tells no NULL from another' ELSE '' END",
)
_OF_INDEXES = (
    f"{_TABLES} JOIN pg_index i ON i.indrelid = c.oid AND NOT i.indisprimary AND i.indisvalid "
    "JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am m ON m.oid = x.relam"
)
_RIGHTS = (
    "has_schema_privilege(n.oid, 'USAGE')",
    "ARRAY(SELECT r FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'REFERENCES']) r "
    "WHERE has_table_privilege(c.oid, r))",
)
#: Who may delete from some tables, as their access lists say, and lacks something of what is asked for each.
_GUESTS = (
    "WITH asked(number, name, what, col) AS (SELECT * FROM unnest(%s::int[], %s::text[], %s::text[], %s::text[])), "
    "guest AS (SELECT DISTINCT u.number, CASE a.grantee WHEN 0 THEN 'public' ELSE pg_get_userbyid(a.grantee) END AS "
    "name FROM unnest(%s::int[], %s::text[], %s::text[]) u(number, place, name) "
    "JOIN pg_namespace n ON n.nspname = u.place JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = u.name, "
    "aclexplode(COALESCE(c.relacl, acldefault('r', c.relowner))) a WHERE a.privilege_type = 'DELETE') "
    "SELECT guest.number, guest.name FROM guest, pg_namespace n WHERE n.nspname = %s AND (NOT "
    "has_schema_privilege(guest.name, n.oid, 'USAGE') OR EXISTS (SELECT 1 FROM asked JOIN pg_class c "
    "ON c.relname = asked.name AND c.relnamespace = n.oid WHERE asked.number = guest.number AND NOT CASE WHEN col = '' "
    "THEN has_table_privilege(guest.name, c.oid, what) ELSE has_column_privilege(guest.name, c.oid, col, what) END)) "
    "ORDER BY 1, 2"
)
_OUTLINE = (
    "SELECT n.nspname, c.relname, (SELECT string_agg(concat_ws(' ', a.attname, "
    "format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attcollation, (SELECT string_agg(e.enumlabel, ',' "
    "ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = a.atttypid)), ',' ORDER BY a.attnum) "
    "FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), "
    "(SELECT string_agg(concat_ws(' ', k.conname, pg_get_constraintdef(k.oid)), ',' ORDER BY k.conname) "
    "FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype IN ('p', 'f')), obj_description(c.oid, 'pg_class'), "
    # What may hinder a link: see _TABLE.
    "c.relpersistence, row_security_active(c.oid), "
    "(SELECT string_agg(i.inhrelid::text, ',' ORDER BY i.inhrelid) FROM pg_inherits i WHERE i.inhparent = c.oid), "
    "(SELECT string_agg(concat_ws(' ', p.polname, p.polcmd, p.polpermissive, p.polroles, "
    "pg_get_expr(p.polqual, p.polrelid)), ',' ORDER BY p.polname) FROM pg_policy p WHERE p.polrelid = c.oid), "
    # What may write something else than it is given.
    "c.relhasrules OR EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal "
    "AND t.tgenabled <> 'D') "
    f"{_TABLES} WHERE c.relkind IN ('r', 'p')"
)


def _fact(told: Sequence[str], of: str = _TABLES) -> Fact:
    there = "c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname = %s"
    return Fact("c.relname", tuple(told), of, there, "c.relname = %s")


class PostgreSQLCatalogue(Catalogue):
    """The catalogue of a PostgreSQL database."""

    session: PostgreSQLSession
    dialect: PostgreSQL

    shows_all_keys = True
    facts: ClassVar[Mapping[str, Fact]] = {
        "table": _fact(_TABLE),
        "columns": _fact(_COLUMNS, _OF_COLUMNS),
        "keys": _fact(_KEYS, _OF_KEYS),
        "indexes": _fact(_INDEXES, _OF_INDEXES),
        "rights": _fact(_RIGHTS),
    }

    def _seen_schemas(self) -> list[str]:
        return [str(name) for (name,) in self.session.query("SELECT nspname FROM pg_namespace")]

    def may_hide(self, schema: str, table: str = "") -> bool:
        return False

    def has_schema(self, schema: str) -> bool:
        if self._relations:
            return super().has_schema(schema)
        return bool(self.session.query("SELECT 1 FROM pg_namespace WHERE nspname = %s", (schema,)))

    def _table(self, schema: str, name: str) -> Table:
        about = self._rows("table", schema, name)
        columns = sorted(self._rows("columns", schema, name), key=itemgetter(0))
        keys = sorted(self._rows("keys", schema, name), key=itemgetter(5))
        foreign_keys = tuple(ForeignKey(tuple(r[3]), r[1], r[2], tuple(r[4]), name=r[5]) for r in keys if r[0] == "f")
        indexes = (Index(tuple(names or ()), *how) for names, *how in self._rows("indexes", schema, name))
        return Table(
            schema,
            name,
            (about[0][0] or "") if about else "",
            tuple(_encoded(_column(tuple(row)), self.session.encoding) for _, *row in columns),
            tuple(next((row[3] for row in keys if row[0] == "p"), ())),
            foreign_keys,
            indexes=listed_indexes(indexes, foreign_keys),
        )

    def obstacle(self, table: Table, *, held: bool) -> tuple[str, str] | None:
        _, heirs, unlogged, hides, *_ = self._rows("table", table.schema, table.name)[0]
        name = plain(self.dialect.name_of(table))
        if heirs:
            return (
                f"shows the rows of tables that inherit from it ({heirs}), which keys and foreign keys do not count",
                f"ALTER TABLE {heirs.partition(', ')[0]} NO INHERIT {name};",
            )
        if held and unlogged:
            return (
                "is unlogged, and the server knows no foreign keys to such a table: its rows cannot be held",
                f"ALTER TABLE {name} SET LOGGED;",
            )
        if not held and hides:
            account = plain(self.dialect.quote(self.session.user))
            return (
                "is under row-level security, which may hide rows from this account: entities would lack some of their "
                "rows",
                f"CREATE POLICY link_reads_all ON {name} FOR SELECT TO {account} USING (true);",
            )
        return None

    def outline(self, masters: Sequence[tuple[str, str]]) -> frozenset[tuple[Any, ...]]:
        where = " OR ".join(["(n.nspname = %s AND (c.relname = %s OR starts_with(c.relname, %s)))"] * len(masters))
        args = tuple(arg for schema, name in masters for arg in (schema, name, part_name(name, "")))
        return frozenset(self.session.query(f"{_OUTLINE} AND ({where})", args))

    @staticmethod
    def has_triggers(outline: frozenset[tuple[Any, ...]]) -> bool:
        return any(row[-1] for row in outline)

    def refers(self, table: Table, referred: Table) -> bool:
        # Of which tables these are the names now, whatever they were at the beginning of a snapshot: so they are read.
        now = "to_regclass(format('%%I.%%I', %s, %s))"
        found = self.session.query(
            f"SELECT EXISTS (SELECT 1 FROM pg_constraint WHERE conrelid = {now} AND confrelid = {now} "
            "AND contype = 'f')",
            (table.schema, table.name, referred.schema, referred.name),
        )
        return bool(found[0][0])

    def missing_rights(self, table: Table, rights: Sequence[str]) -> list[str]:
        usable, held = self._rows("rights", table.schema, table.name)[0]
        missing = [right for right in rights if right not in held]
        return missing if usable else ["USAGE", *missing]

    def _tells_origins(self, schema: str) -> bool:
        # Everybody is shown all tables, but to DataJoint those of which one has some right.
        if not super()._tells_origins(schema):
            return False
        _, held = self._rows("rights", schema, LINEAGE)[0]
        return bool(held)

    def guests(self, schema: str, asked: Sequence[tuple[Table, MemberRights]]) -> list[list[str]]:
        found: list[list[str]] = [[] for _ in asked]
        rights = [(n, name, *right) for n, (_, of) in enumerate(asked) for name, some in of.items() for right in some]
        sources = [(n, source.schema, source.name) for n, (source, _) in enumerate(asked)]
        columns = [list(column) for rows in (rights, sources) for column in zip(*rows, strict=True)]
        for number, name in self.session.query(_GUESTS, (*columns, schema)):
            found[number].append(str(name))
        return found

    def owners(self, schema: str) -> list[str]:
        rows = self.session.query(
            "SELECT DISTINCT tableowner FROM pg_catalog.pg_tables WHERE schemaname = %s ORDER BY 1", (schema,)
        )
        return [str(owner) for (owner,) in rows]

    def link_users(self, schema: str, names: Sequence[str]) -> dict[str, list[str]]:
        rows = self.session.query(
            "SELECT tablename, tableowner FROM pg_catalog.pg_tables WHERE schemaname = %s", (schema,)
        )
        return {str(table): [str(owner)] for table, owner in rows if table in names}

    def account_rights(self, user: str, client_host: str) -> set[tuple[str, str]] | None:
        found = self.session.query("SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = %s", (user,))
        if not found:
            return None
        rows = self.session.query(
            f"SELECT n.nspname, c.relname {_TABLES} JOIN pg_roles r ON r.rolname = %s "
            "WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND (c.relowner = r.oid "
            "OR EXISTS (SELECT FROM aclexplode(c.relacl) a WHERE a.grantee = r.oid) "
            "OR EXISTS (SELECT FROM pg_attribute t, aclexplode(t.attacl) a "
            "WHERE t.attrelid = c.oid AND a.grantee = r.oid))",
            (user,),
        )
        return {(str(schema), str(table)) for schema, table in rows} | {("*", "") for (is_super,) in found if is_super}

    def account_roles(self, user: str, client_host: str) -> list[str]:
        rows = self.session.query(
            "SELECT DISTINCT pg_get_userbyid(m.roleid) FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member "
            "WHERE r.rolname = %s ORDER BY 1",
            (user,),
        )
        return [str(name) for (name,) in rows]

    def has_policies(self, table: Table) -> bool:
        return bool(self._rows("table", table.schema, table.name)[0][5])

    def hides_rows(self, table: Table) -> bool:
        return bool(self._rows("table", table.schema, table.name)[0][4])

    def may_create(self, schema: str, names: Sequence[str]) -> bool:
        if not self.has_schema(schema):
            return bool(self.session.query("SELECT has_database_privilege(current_database(), 'CREATE')")[0][0])
        rights = self.session.query(
            "SELECT has_schema_privilege(%s, r) FROM unnest(ARRAY['USAGE', 'CREATE']) AS r", (schema,)
        )
        return all(may for (may,) in rights)

    def held_on_columns(self, table: Table, rights: Sequence[str]) -> list[str]:
        asked = [right for right in rights if right in ("SELECT", "INSERT", "UPDATE", "REFERENCES")]
        rows = self.session.query(
            f"SELECT r FROM unnest(%s::text[]) AS asked(r) WHERE has_any_column_privilege({_OID}, r)",
            (asked, table.schema, table.name),
        )
        return [str(right) for (right,) in rows]

    def idle_roles(self) -> list[str]:
        rows = self.session.query(
            "SELECT rolname FROM pg_roles WHERE pg_has_role(oid, 'MEMBER') AND NOT pg_has_role(oid, 'USAGE') ORDER BY 1"
        )
        return [str(name) for (name,) in rows]

    # tables from elsewhere

    def localized(self, table: Table, source: Dialect) -> Table:
        if self.dialect.alike(source):
            return self.dialect.owned(table)
        columns = tuple(self._from_elsewhere(table, column) for column in table.columns)
        return _indexable(replace(table, columns=columns))

    def _from_nothing(self, table: Table) -> str:
        return ""

    def _collated(self, column: Column) -> Column:
        if column.collation is None or self.session.query("SELECT to_regcollation(%s)", (column.collation,))[0][0]:
            return column
        return replace(column, collation=None)

    def _from_elsewhere(self, table: Table, column: Column) -> Column:
        kind = linkable_kind(column)
        if not self.dialect.fits(column.name):
            raise DefinitionError(f"The name of the column {table.name}.{column.name} is too long for PostgreSQL.")
        given = default_of(column.default, mysql_types.unescape)
        local = replace(
            column,
            charset=None,
            collation=None,
            on_update=None,
            comment=marked(column.comment, kind, self.dialect.unseen),
            default=postgresql_types.default(kind, given) if given else None,
        )
        if kind.name == "enum":
            return self._as_enum(table, local, kind)
        return replace(local, type=postgresql_types.declare(kind))

    def _as_enum(self, table: Table, column: Column, kind: Kind) -> Column:
        if not all(map(self.dialect.fits, kind.labels)):
            raise DefinitionError(f"A label of the column {table.name}.{column.name} is too long for PostgreSQL.")
        digest = hashlib.sha256("\0".join(kind.labels).encode()).hexdigest()[:8]
        name = plain(self.dialect.full_name(table.schema, f"enum_{digest}"))
        return replace(column, type=_enum(kind.labels), enum_type=name)


def _indexable(table: Table) -> Table:
    """A table that knows for which of its indexes values can be too long, so that rows would be refused."""

    def judged(index: Index) -> Index:
        if index.unfit or sum(_longest(table[name]) for name in index.columns) <= _INDEXED_BYTES:
            return index
        return replace(index, unfit=f"values can be longer than the {_INDEXED_BYTES} bytes that PostgreSQL indexes")

    return replace(table, indexes=tuple(map(judged, table.indexes)))


def _longest(column: Column) -> int:
    """The bytes of the longest values of a column, or about so many."""
    kind = linkable_kind(column)
    if kind.name not in ("text", "bytes"):
        return 32
    return _INDEXED_BYTES + 1 if kind.size is None else kind.size * (4 if kind.name == "text" else 1)


def _enum(labels: Sequence[str]) -> str:
    return "enum(" + ",".join(map(postgresql_types.literal, labels)) + ")"


def _encoded(column: Column, encoding: str | None) -> Column:
    """A column that knows the encoding of its database, if it has text in another one than UTF-8."""
    has_text = column.kind is not None and column.kind.name in ("text", "enum", "json")
    return replace(column, charset=encoding) if has_text else column


def _column(row: tuple[Any, ...]) -> Column:
    name, kind, nullable, default, comment, collation, serial, generated, labels, full_type = row
    labels = tuple(labels or ())
    if labels:
        kind = _enum(labels)
        default = re.sub(r"^('(?:[^']|'')*')::.*$", r"\1", default) if default else None
    return Column(
        name=name,
        type=kind,
        nullable=bool(nullable),
        default=None if serial else default,
        comment=comment or "",
        collation=collation,
        auto_increment=bool(serial),
        generated=bool(generated),
        kind=postgresql_types.kind_of(kind, labels),
        enum_type=full_type if labels else None,
    )
