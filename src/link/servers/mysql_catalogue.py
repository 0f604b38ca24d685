"""Reading the catalogue of MySQL and MariaDB."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Any, ClassVar

from ..errors import DefinitionError, PrivilegeError, ServerError
from ..lazy import cached_property
from ..model.kinds import Kind, default_of, marked
from ..model.schema import Column, ForeignKey, Index, Table, listed_indexes, part_name
from . import mysql_texts, mysql_types, postgresql_types
from .catalogue import Catalogue, Fact
from .dialect import Dialect, linkable_kind, plain
from .mysql import MySQL
from .mysql_definitions import COMMENT, TABLE_COMMENT, fitting, indexable
from .mysql_session import MySQLSession

#: A column's name, and its default as a literal: the first that is not within quotes.
_DEFAULT = re.compile(
    rb"^  `((?:[^`]|``)+)` (?:[^'\n]|'(?:[^'\\]|''|\\.)*')*? DEFAULT (?:0x([0-9A-F]+)|'((?:[^'\\]|''|\\.)*)')",
    re.MULTILINE | re.DOTALL,
)
#: Bytes of a row that is large: InnoDB reads all of a value to tell how long it is.
LARGE = 50_000
#: A right on some columns, in a line of SHOW GRANTS.
_ON_COLUMNS = re.compile(r"[A-Z ]+ \((?:`(?:[^`]|``)*`(?:, ?)?)+\)")
#: A default that is a text, of which the catalogue may tell another one in some character sets.
_ODD_DEFAULT = re.compile(r"'(?=.*[^\w .,:;/+'-])", re.DOTALL | re.ASCII)
_TEXT = re.compile(r"'(?:[^'\\]|''|\\.)*'", re.DOTALL)
#: What a column may have beside what we know of it; MariaDB's check of JSON comes with the type.
_BESIDES = re.compile(
    r"\b(INVISIBLE|COMPRESSED|COLUMN_FORMAT|STORAGE|(SECONDARY_)?ENGINE_ATTRIBUTE|WITHOUT SYSTEM VERSIONING|"
    r"CHECK \((?!json_valid\().*\))"
)
#: What triggers are told by in an outline, and where their table is.
_TRIGGER, _OF_TRIGGER = "-1", ("EVENT_OBJECT_SCHEMA", "EVENT_OBJECT_TABLE")
#: Character sets with more than MySQL's catalogue can tell.
_WIDE = {
    "utf8mb4": "utf-8",
    "utf16": "utf-16-be",
    "utf16le": "utf-16-le",
    "utf32": "utf-32-be",
    "gb18030": "gb18030",
}


def _fact(view: str, *told: str) -> Fact:
    return Fact("TABLE_NAME", told, f"FROM information_schema.{view}", "TABLE_SCHEMA = %s", "TABLE_NAME = %s")


class MySQLCatalogue(Catalogue):
    """The catalogue of a MySQL or MariaDB server."""

    session: MySQLSession
    dialect: MySQL

    facts: ClassVar[Mapping[str, Fact]] = {
        "table": _fact("TABLES", "TABLE_COMMENT", "ENGINE", "CREATE_OPTIONS"),
        "columns": _fact(
            "COLUMNS",
            *("ORDINAL_POSITION", "COLUMN_NAME", "COLUMN_TYPE", "IS_NULLABLE", "COLUMN_DEFAULT", "EXTRA"),
            *("COLUMN_COMMENT", "CHARACTER_SET_NAME", "COLLATION_NAME", "GENERATION_EXPRESSION"),
        ),
        "keys": _fact(
            "KEY_COLUMN_USAGE",
            *("CONSTRAINT_NAME", "ORDINAL_POSITION", "COLUMN_NAME"),
            *("REFERENCED_TABLE_SCHEMA", "REFERENCED_TABLE_NAME", "REFERENCED_COLUMN_NAME"),
        ),
        "indexes": _fact(
            "STATISTICS", "INDEX_NAME", "SEQ_IN_INDEX", "COLUMN_NAME", "NON_UNIQUE", "SUB_PART", "INDEX_TYPE"
        ),
    }

    def _seen_schemas(self) -> list[str]:
        return [str(name) for (name,) in self.session.query("SELECT SCHEMA_NAME FROM information_schema.SCHEMATA")]

    def may_hide(self, schema: str, table: str = "") -> bool:
        showing = ["SELECT"] if table else ["SELECT", "SHOW DATABASES"]
        return self.missing_rights(Table(schema, table, "", (), ()), showing) == showing

    # definitions

    def _table(self, schema: str, name: str) -> Table:
        comment = self._rows("table", schema, name)
        columns = [tuple(row) for _, *row in sorted(self._rows("columns", schema, name), key=itemgetter(0))]
        keys = [(row[0], *row[2:]) for row in sorted(self._rows("keys", schema, name), key=itemgetter(0, 1))]
        # MariaDB counts to the key of a versioned table when a version ends.
        lasting = {column for column, *_, expression in columns if expression != "ROW END"}
        foreign_keys = _foreign_keys(keys)
        return Table(
            schema,
            name,
            str(comment[0][0] or "") if comment else "",
            self._columns(schema, name, columns),
            tuple(column for constraint, column, *_ in keys if constraint == "PRIMARY" and column in lasting),
            foreign_keys,
            indexes=listed_indexes(_indexes(self._rows("indexes", schema, name)), foreign_keys),
        )

    def obstacle(self, table: Table, *, held: bool) -> tuple[str, str] | None:
        _, engine, options = self._rows("table", table.schema, table.name)[0]
        alter = f"ALTER TABLE {plain(self.dialect.name_of(table))}"
        if engine != "InnoDB":
            return (
                f"is of the engine {engine}, which has no foreign keys and no transactions: its rows can neither be "
                "held nor read as they are at one instant",
                f"{alter} ENGINE=InnoDB;",
            )
        if held and "partitioned" in (options or ""):
            return (
                "is partitioned, and MySQL and MariaDB know no foreign keys to such a table: its rows cannot be held",
                f"{alter} REMOVE PARTITIONING;",
            )
        return None

    def has_keys(self, table: Table) -> bool:
        if super().has_keys(table):
            return True
        try:
            definition = self.session.definition(table.schema, table.name)
        except PrivilegeError:
            return True
        # Of a table that the account sees by a right on the schema alone, MySQL's catalogue does not tell the keys.
        return bool(re.search(rb"^  (PRIMARY KEY|CONSTRAINT .* FOREIGN KEY) ", definition, re.MULTILINE))

    def _columns(self, schema: str, name: str, rows: Sequence[tuple[Any, ...]]) -> tuple[Column, ...]:
        # What the catalogue does not tell, or not with every byte.
        maybe_json = self.dialect.json_as_text and any(row[1] == "longtext" for row in rows)
        unsure = maybe_json or any(map(_is_unsure, rows))
        definition = self.session.definition(schema, name) if unsure else b""
        json_columns = _json_columns(definition) if self.dialect.json_as_text else ()
        told = _told_defaults(definition, rows)
        columns = self._with_bytes(schema, name, [self._column(row, told.get(row[0])) for row in rows])
        return tuple(_as_json(column) if column.name in json_columns else column for column in columns)

    def _with_bytes(self, schema: str, name: str, columns: Sequence[Column]) -> list[Column]:
        """The columns with defaults by their bytes, where the text that the catalogue tells of them is another one."""
        unsure = [c for c in columns if not mysql_texts.is_exact(c) and _ODD_DEFAULT.match(c.default or "")]
        if not unsure:
            return list(columns)
        table = self.dialect.alias("table")
        defaults = [(c, f"DEFAULT({table}.{self.dialect.quote(c.name)})") for c in unsure]
        codes = (
            f"IF({mysql_texts.lost(column, default, self.dialect.halves)}, HEX({default}), NULL)"
            for column, default in defaults
        )
        source = (
            f"(SELECT 1) AS {self.dialect.alias('row')} LEFT JOIN {self.dialect.full_name(schema, name)} AS {table}"
        )
        try:
            found = self.session.query(f"SELECT {', '.join(codes)} FROM {source} ON FALSE")[0]
        except PrivilegeError:
            return list(columns)  # nobody may link, or make, what the account cannot read
        told = {c.name: mysql_texts.literal(c, code) for c, code in zip(unsure, found, strict=True) if code is not None}
        return [replace(column, default=told.get(column.name, column.default)) for column in columns]

    def _column(self, row: tuple[Any, ...], default_told: str | None) -> Column:
        name, kind, nullable, default, extra, comment, charset, collation, _ = row
        # The width of an integer says nothing, but for tinyint(1), which DataJoint takes for a bool, and of zerofill.
        plain = r"^((?:small|medium|big)?int|tinyint(?!\(1\)))\(\d+\)(?!.*zerofill)|^(year)\(4\)"
        kind = re.sub(plain, r"\1\2", _as_text(kind))
        on_update = re.search(r"on update (current_timestamp(?:\(\d*\))?)", extra or "", re.IGNORECASE)
        if default_told is None and default is not None:
            default_told = self.dialect.shown_default(_as_text(default), extra or "")
        return Column(
            name=name,
            type=kind,
            nullable=nullable == "YES",
            default=default_told,
            comment=comment or "",
            charset=charset,
            collation=collation,
            generated=bool(re.search(r"(VIRTUAL|STORED|PERSISTENT) GENERATED", extra or "")),
            auto_increment="auto_increment" in (extra or "").lower(),
            on_update=on_update[1] if on_update else None,
            kind=self.dialect.kind_of(kind, comment or ""),
        )

    def outline(self, masters: Sequence[tuple[str, str]]) -> frozenset[tuple[Any, ...]]:
        schemas = defaultdict[str, list[str]](list)
        for schema, name in masters:
            schemas[schema].append(name)
        those = "{0} = %s OR LEFT({0}, CHAR_LENGTH(%s)) = %s"
        # One SELECT for each schema: MariaDB looks into all that the server has for what is in any of some.
        places = [f"{{1}} = %s AND ({' OR '.join([those] * len(names))})" for names in schemas.values()]
        args = [
            arg
            for schema, names in schemas.items()
            for arg in (schema, *(each for name in names for each in (name, *[part_name(name, "")] * 2)))
        ]
        names = ("TABLE_SCHEMA", "TABLE_NAME", "COLUMN_NAME")
        described = ("COLUMN_TYPE", "IS_NULLABLE", "COLLATION_NAME", "EXTRA")
        keys = ("CONSTRAINT_NAME", "REFERENCED_TABLE_SCHEMA", "REFERENCED_TABLE_NAME", "REFERENCED_COLUMN_NAME")
        comments = (*names[:2], "TABLE_COMMENT", "TABLE_TYPE", "ENGINE", *["CREATE_OPTIONS"] * 2)
        views = {
            "COLUMNS": (*names, *described, "ORDINAL_POSITION"),
            "KEY_COLUMN_USAGE": (*names, *keys, "ORDINAL_POSITION"),
            "TABLES": (*comments, "0"),
            "TRIGGERS": (*_OF_TRIGGER, "TRIGGER_NAME", "ACTION_TIMING", "EVENT_MANIPULATION", "CREATED", "0", _TRIGGER),
        }
        # The catalogue's own columns are of several collations.
        selects = (
            f"SELECT {', '.join(f'CAST({name} AS BINARY)' for name in told)} "
            f"FROM information_schema.{view} WHERE {where.format(told[1], told[0])}"
            for view, told in views.items()
            for where in places
        )
        rows = self.session.query(" UNION ALL ".join(selects), args * len(views))
        return frozenset(rows)

    @staticmethod
    def has_triggers(outline: frozenset[tuple[Any, ...]]) -> bool:
        return any(row[-1] == _TRIGGER.encode() for row in outline)

    def may_hide_triggers(self, table: Table) -> bool:
        return bool(self.missing_rights(table, ["TRIGGER"]))

    def lost(self, table: Table, columns: Sequence[Column]) -> list[str]:
        if not columns:
            return []
        definition = self.session.definition(table.schema, table.name).decode(errors="replace")
        lines = re.findall(r"^  `((?:[^`]|``)+)` (.*?),?$", _TEXT.sub("''", definition), re.MULTILINE)
        told = {name.replace("``", "`"): line for name, line in lines}
        return [f"{c.name}: {words[0]}" for c in columns if (words := _BESIDES.search(told.get(c.name, "")))]

    def refers(self, table: Table, referred: Table) -> bool:
        return bool(
            self.session.query(
                "SELECT 1 FROM information_schema.KEY_COLUMN_USAGE WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s "
                "AND REFERENCED_TABLE_SCHEMA = %s AND REFERENCED_TABLE_NAME = %s",
                (table.schema, table.name, referred.schema, referred.name),
            )
        )

    # rights

    def missing_rights(self, table: Table, rights: Sequence[str]) -> list[str]:
        held = _held(self._grants, table, self._is_literal, self.folded)
        return [right for right in rights if not {right, "ALL PRIVILEGES"} & held]

    def may_create(self, schema: str, names: Sequence[str]) -> bool:
        if not self.has_schema(schema) and self.missing_rights(Table(schema, "", "", (), ()), ["CREATE"]):
            return False
        rights = ("CREATE", "SELECT", "INSERT", "UPDATE", "DELETE")
        return not any(self.missing_rights(Table(schema, name, "", (), ()), rights) for name in names)

    def large_rows(self, tables: Sequence[Table]) -> dict[Table, float]:
        if self.dialect.keeps_statistics:
            self.session.execute("SET SESSION information_schema_stats_expiry = 0")
        schemas = sorted({table.schema for table in tables})
        rows = self.session.query(
            "SELECT TABLE_SCHEMA, TABLE_NAME, AVG_ROW_LENGTH FROM information_schema.TABLES "
            f"WHERE TABLE_SCHEMA IN ({', '.join(['%s'] * len(schemas))}) AND AVG_ROW_LENGTH > {LARGE}",
            schemas,
        )
        known = {(schema, name): float(size) for schema, name, size in rows}
        return {t: known[t.schema, t.name] for t in tables if (t.schema, t.name) in known}

    def held_on_columns(self, table: Table, rights: Sequence[str]) -> list[str]:
        on_table = self.folded(f" ON {plain(self.dialect.name_of(table))} TO ")
        granted = " ".join(grant for grant in self._grants if on_table in self.folded(grant))
        return [right for right in rights if f"{right} (`" in granted]

    def idle_roles(self) -> list[str]:
        enabled = "SELECT ROLE_NAME FROM information_schema.ENABLED_ROLES WHERE ROLE_NAME IS NOT NULL"
        try:
            rows = self.session.query(
                f"SELECT ROLE_NAME FROM information_schema.APPLICABLE_ROLES WHERE ROLE_NAME NOT IN ({enabled})"
            )
        except ServerError:
            return []  # MySQL before 8.0.19 has no such lists
        return sorted({str(name) for (name,) in rows})

    @cached_property
    def _grants(self) -> list[str]:
        """The account's own grants, those through its active roles included."""
        return [str(grant) for (grant,) in self.session.query("SHOW GRANTS")]

    @cached_property
    def _naming(self) -> dict[str, str]:
        """What the server makes of the names in grants."""
        names = "'partial_revokes', 'lower_case_table_names'"
        return dict(self.session.query(f"SHOW VARIABLES WHERE Variable_name IN ({names})"))

    @property
    def _is_literal(self) -> bool:
        """Whether MySQL takes the names of schemas literally, as it does where rights can be revoked on single ones."""
        return self._naming.get("partial_revokes") == "ON"

    def folded(self, name: str) -> str:
        """A name as the server compares it: on macOS it keeps capital letters, but in grants."""
        return name.lower() if self._naming["lower_case_table_names"] != "0" else name

    def link_users(self, schema: str, names: Sequence[str]) -> dict[str, list[str]]:
        tables = self.session.query(
            "SELECT DISTINCT TABLE_SCHEMA, TABLE_NAME, GRANTEE FROM information_schema.TABLE_PRIVILEGES "
            "WHERE PRIVILEGE_TYPE = 'INSERT' AND TABLE_SCHEMA = %s",
            (schema,),
        )
        schemas = self.session.query(
            "SELECT DISTINCT TABLE_SCHEMA, GRANTEE FROM information_schema.SCHEMA_PRIVILEGES "
            "WHERE PRIVILEGE_TYPE = 'INSERT'"
        )
        whole = [grantee for pattern, grantee in schemas if self.folded(_literal(pattern)) == self.folded(schema)]
        # The catalogue takes capital letters for small ones, whatever the server does.
        users: dict[str, set[str]] = {name: {*whole} for name in names}
        own = {(self.folded(schema), self.folded(name)): name for name in names}
        for place, table, grantee in tables:
            if name := own.get((self.folded(place), self.folded(table))):
                users[name].add(grantee)
        return {
            name: sorted({str(each).rpartition("@")[0][1:-1] for each in grantees}) for name, grantees in users.items()
        }

    def account_rights(self, user: str, client_host: str) -> set[tuple[str, str]] | None:
        account = f"'{user}'@'{client_host}'"
        told = {
            "USER": "'', IF(PRIVILEGE_TYPE = 'USAGE', '', '*')",
            # Which shows a link the names of all tables there, beside its rights on some.
            "SCHEMA": "'', IF(PRIVILEGE_TYPE = 'SHOW VIEW', '', TABLE_SCHEMA)",
            "TABLE": "TABLE_NAME, TABLE_SCHEMA",
            "COLUMN": "TABLE_NAME, TABLE_SCHEMA",
        }
        selects = (
            f"SELECT GRANTEE, {what} FROM information_schema.{of}_PRIVILEGES WHERE GRANTEE = %s"
            for of, what in told.items()
        )
        rows = self.session.query(" UNION ".join(selects), [account] * len(told))
        # Users are told apart by capital letters, hosts are not.
        found = [row[1:] for row in rows if str(row[0]).startswith(f"'{user}'@")]
        if not found:
            return None
        return {(str(schema) if table else _literal(str(schema)), str(table)) for table, schema in found if schema}

    def account_roles(self, user: str, client_host: str) -> list[str]:
        account = plain(f"{self.dialect.text(user)}@{self.dialect.text(client_host)}")
        grants = self.session.query(f"SHOW GRANTS FOR {account.replace('%', '%%')}")
        return [found[1] for (grant,) in grants if (found := _OF_ROLE.match(str(grant)))]

    # tables from elsewhere

    def localized(self, table: Table, source: Dialect) -> Table:
        if isinstance(source, MySQL):
            columns = tuple(map(self._renamed, table.columns))
            if self.dialect.alike(source):
                return replace(table, columns=tuple(map(self._told, columns)))
            columns = tuple(self._told(self._from_family(column)) for column in columns)
            return indexable(replace(table, columns=columns))
        columns = tuple(self._from_elsewhere(table, column) for column in table.columns)
        return indexable(fitting(replace(table, columns=columns, comment=table.comment[:TABLE_COMMENT])))

    @cached_property
    def _collations(self) -> set[str]:
        rows = self.session.query(
            "SELECT COLLATION_NAME, CONCAT(CHARACTER_SET_NAME, '_', COLLATION_NAME) "
            "FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY"
        )
        # MariaDB lists what several character sets have without their names.
        return {str(name) for row in rows for name in row}

    def _renamed(self, column: Column) -> Column:
        """A column whose collation has the name that this server gives it: MySQL 8.0.30 has renamed those of utf8."""
        for old, new in (("utf8", "utf8mb3"), ("utf8mb3", "utf8")):
            if (column.collation or "").startswith(f"{old}_") and column.collation not in self._collations:
                return replace(column, charset=new, collation=(column.collation or "").replace(old, new, 1))
        return column

    def _collated(self, column: Column) -> Column:
        if column.collation is None or column.collation in self._collations:
            return column
        # A default by its bytes means something in its own character set only.
        told = None if (column.default or "").startswith(f"_{column.charset} x") else column.default
        return replace(column, charset="utf8mb4", collation=self.dialect.exact_collation, default=told)

    def _from_nothing(self, table: Table) -> str:
        return f"FROM (SELECT {', '.join(f'NULL AS {self.dialect.quote(name)}' for name in table.names)}) AS t"

    def _told(self, column: Column) -> Column:
        """A column of JSON with its marker, without which DataJoint takes it for the text that it is to the server."""
        if column.kind != Kind("json") or "json" not in self.dialect.unseen:
            return column
        return replace(column, comment=marked(column.comment, column.kind, self.dialect.unseen))

    def _from_family(self, column: Column) -> Column:
        """MySQL and MariaDB share their types, but not all collations, nor how JSON is shown."""
        if column.kind and column.kind.name == "json":
            column = replace(column, type="json", charset=None, collation=None)
        column = self._collated(column)
        if column.default is None:
            return column
        return replace(column, default=self.dialect.adopted_default(column, column.default))

    def _from_elsewhere(self, table: Table, column: Column) -> Column:
        kind, in_key = linkable_kind(column), column.name in (*table.primary_key, *table.master_key)
        words = mysql_types.declare(kind, in_key)
        if words is None:
            raise DefinitionError(
                f"The column {table.name}.{column.name} is of the type {column.type}{' in a key' * in_key}, "
                "which MySQL and MariaDB cannot hold."
            )
        given = default_of(column.default, postgresql_types.unescape)
        default = mysql_types.default(kind, given) if given else None
        charset = ("utf8mb4", self.dialect.exact_collation) if kind.name in ("text", "enum") else (None, None)
        return replace(
            column,
            type=words,
            charset=charset[0],
            collation=charset[1],
            enum_type=None,
            comment=marked(column.comment, kind, self.dialect.unseen)[:COMMENT],
            default=f"({default})" if default and mysql_types.is_long(words) else default,
        )


def _as_text(shown: Any) -> str:
    return shown.decode() if isinstance(shown, bytes) else str(shown)


def _as_json(column: Column) -> Column:
    return replace(column, type="json", charset=None, collation=None, kind=Kind("json"))


def _is_unsure(row: tuple[Any, ...]) -> bool:
    """Whether the catalogue may show another default than there is: of bytes, or with characters of four bytes."""
    return row[3] is not None and ("binary" in str(row[1]) or "?" in str(row[3]))


def _json_columns(definition: bytes) -> set[str]:
    """MariaDB's JSON is a LONGTEXT with a check, which an account that may only read sees here alone."""
    found = re.findall(
        r"^  `((?:[^`]|``)+)` longtext .*CHECK \(json_valid\(`\1`\)\)",
        definition.decode(errors="replace"),
        re.MULTILINE,
    )
    return {column.replace("``", "`") for column in found}


def _told_defaults(definition: bytes, columns: Sequence[tuple[Any, ...]]) -> dict[str, str]:
    """The defaults, as SQL, of which the catalogue may not tell all."""
    charsets = {row[0]: row[6] for row in columns if _is_unsure(row)}
    told = {}
    for quoted, code, inside in _DEFAULT.findall(definition):
        name = quoted.decode().replace("``", "`")
        if name in charsets and charsets[name] is None:
            value = bytes.fromhex(code.decode()) or mysql_types.unescape(inside.decode("latin-1")).encode("latin-1")
            told[name] = f"0x{value.hex().upper()}" if value else "''"
        elif code and charsets.get(name) in _WIDE:
            told[name] = mysql_types.literal(bytes.fromhex(code.decode()).decode(_WIDE[charsets[name]]))
    return told


def _foreign_keys(rows: Sequence[tuple[Any, ...]]) -> tuple[ForeignKey, ...]:
    grouped: dict[str, list[tuple[Any, ...]]] = {}
    for constraint, *rest in rows:
        if rest[2] is not None:
            grouped.setdefault(constraint, []).append(tuple(rest))
    return tuple(
        ForeignKey(tuple(r[0] for r in fk), fk[0][1], fk[0][2], tuple(r[3] for r in fk), name=name)
        for name, fk in grouped.items()
    )


def _indexes(rows: Iterable[tuple[Any, ...]]) -> Iterator[Index]:
    grouped: dict[str, list[tuple[Any, ...]]] = {}
    for name, *rest in sorted(rows, key=itemgetter(0, 1)):
        grouped.setdefault(name, []).append(tuple(rest))
    for name, columns in grouped.items():
        if name != "PRIMARY":
            unfit = next(filter(None, map(_unfit, columns)), "")
            yield Index(tuple(column for _, column, *_ in columns if column), not columns[0][2], unfit)


def _unfit(row: tuple[Any, ...]) -> str:
    _, column, _, length, kind = row
    if kind not in ("BTREE", "HASH"):
        return f"it is of the type {kind}"
    if column is None:
        return "it is of an expression"
    return f"it is of the first {length} characters of {column} only" if length else ""


def _held(grants: Sequence[str], table: Table, literal: bool, folded: Callable[[str], str]) -> set[str]:
    """The rights on all columns of a table that the lines of SHOW GRANTS leave; names are compared ``folded``."""
    name_of_schema, name_of_table = folded(table.schema), folded(table.name)
    name = r"(\*|`(?:[^`]|``)*`)"
    everywhere: set[str] = set()
    revoked: set[str] = set()
    here: set[str] = set()
    for line in grants:
        found = re.match(rf"(GRANT|REVOKE) (.*) ON {name}\.{name} (?:TO|FROM) ", line)
        if not found:
            continue
        verb, rights, schema, granted = found.groups()
        if granted != "*":
            applies = [folded(_unquoted(schema)), folded(_unquoted(granted))] == [name_of_schema, name_of_table]
        else:
            literally = literal or verb == "REVOKE"
            applies = schema == "*" or bool(_like(folded(_unquoted(schema)), literally).fullmatch(name_of_schema))
        if applies:
            place = revoked if verb == "REVOKE" else everywhere if schema == "*" else here
            place.update(re.split(", ?", _ON_COLUMNS.sub("", rights)))
    # What is revoked on a schema is taken from what holds everywhere, and from nothing else.
    return everywhere - revoked | here


def _unquoted(name: str) -> str:
    return name[1:-1].replace("``", "`")


def _like(pattern: str, literally: bool) -> re.Pattern[str]:
    """The schemas that the name in a grant on a whole schema stands for."""
    wild = {} if literally else {"%": ".*", "_": "."}
    pieces = re.findall(r"\\?.", pattern, re.DOTALL)
    return re.compile("".join(wild.get(piece, re.escape(piece[-1])) for piece in pieces), re.DOTALL)


#: A role in SHOW GRANTS.
_OF_ROLE = re.compile(r"GRANT `((?:[^`]|``)+)`(?:@`[^`]*`)? TO ")


def _literal(pattern: str) -> str:
    """The schema that a right on whole schemas means, which names them by a pattern."""
    return re.sub(r"\\(.)", r"\1", pattern)
