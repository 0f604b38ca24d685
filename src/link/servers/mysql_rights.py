"""The rights of accounts on MySQL and MariaDB.

They take the names in a grant on a *table* literally. Only a grant on a whole database reads ``_`` and ``%`` as
wildcards, so only there they are escaped: ``source\\_schema`` in a grant on a table means another schema, which is
refused for a source table and silently useless for a helper table.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

from ..model.layouts import LINK
from ..model.states import TRUE
from .dialect import plain
from .mysql import MariaDB
from .rights import (
    LINEAGE,
    Access,
    Guarded,
    PipelineAccess,
    Rights,
    Statement,
    because,
    checked,
    dropping,
    member_rights,
)

#: With CREATE they can be granted on a table that is not there yet.
_LINEAGE_RIGHTS = ("CREATE", "SELECT", "INSERT", "UPDATE", "DELETE")


class MySQLRights(Rights):
    """What is granted on MySQL and MariaDB."""

    granter = "As administrator of"

    def let_in(self, access: Access) -> list[Statement]:
        user = self._user(access)
        return [
            self._created(access),
            Statement(f"CREATE SCHEMA IF NOT EXISTS {self._name(access.helper_schema)}"),
            *(Statement(f"GRANT SELECT, REFERENCES ON {table} TO {user}") for table in self._tables(access)),
            *because(
                "What DataJoint 0.x tells of the files that these tables name:",
                [f"GRANT SELECT ON {table} TO {user}" for table in self._tracking(access)],
            ),
            *(Statement(f"GRANT ALL PRIVILEGES ON {table} TO {user}") for table in self._helpers(access)),
            Statement(
                f"GRANT {', '.join(_LINEAGE_RIGHTS)} ON {self._lineage(access)} TO {user}",
                "Where the attributes of the helper tables come from: DataJoint looks for it when it deletes.",
            ),
            Statement(
                f"GRANT SELECT ON {self._name(access.source_schema)}.{self._name(LINEAGE)} TO {user}",
                ""
                if access.has_lineage
                else "If the schema has that table, in which DataJoint 2 writes the same of the source tables:",
                optional=not access.has_lineage,
            ),
            Statement(
                f"GRANT SHOW VIEW ON {_literally(self._name(access.source_schema))}.* TO {user}",
                "Optional, together with the last one. The server hides tables without a grant: a part table added\n"
                "later would be missed without a word. It shows names and definitions of all tables there, no rows:",
                optional=True,
            ),
        ]

    def _created(self, access: Access | PipelineAccess) -> Statement:
        """The account, or what is to be said of it."""
        user = self._user(access)
        if not access.new_user:
            why = "Only if all that log in with this account do so by TLS, as links do from other machines:"
            return Statement(f"ALTER USER {user} REQUIRE SSL", why, optional=True)
        create = f"CREATE USER {user} IDENTIFIED BY {self._text(access.password)}"
        if access.require_tls:
            return Statement(f"{create} REQUIRE SSL")
        return Statement(
            create,
            "Without TLS all rows can be read on their way, and links say use_tls=False. Where the server has it, end\n"
            "the next line with REQUIRE SSL.",
        )

    def let_out(self, access: Access) -> list[Statement]:
        user = self._user(access)
        if access.new_user:
            taken = [Statement(self.drop(access), "All rights of the account end with it.")]
        else:
            sources = (f"REVOKE SELECT, REFERENCES ON {table} FROM {user}" for table in self._tables(access))
            helpers = (f"REVOKE ALL PRIVILEGES ON {table} FROM {user}" for table in self._helpers(access))
            lineage = f"REVOKE {', '.join(_LINEAGE_RIGHTS)} ON {self._lineage(access)} FROM {user}"
            tracking = (f"REVOKE SELECT ON {table} FROM {user}" for table in self._tracking(access))
            origins = f"REVOKE SELECT ON {self._name(access.source_schema)}.{self._name(LINEAGE)} FROM {user}"
            why = "Only if no other link of this account needs it:"
            taken = [*map(Statement, sources), *map(Statement, helpers)]
            taken += because(why, [*tracking, lineage, origins], optional=True)
        return [*taken, *dropping([*self._drops(access), *self._forgets(access)])]

    def drop(self, access: Access | PipelineAccess) -> str:
        return f"DROP USER {self._user(access)}"

    def let_pipeline_in(self, access: PipelineAccess) -> list[Statement]:
        user = self._user(access)
        lineage = [f"GRANT SELECT ON {self._name(s)}.{self._name(LINEAGE)} TO {user}" for s in self._listed(access)]
        return [
            self._created(access),
            *(Statement(f"GRANT SELECT, REFERENCES ON {what} TO {user}") for what in self._sources(access)),
            *because("Where the attributes of these tables come from, as DataJoint 2 has written it down:", lineage),
            Statement(f"CREATE SCHEMA IF NOT EXISTS {self._name(access.helper_schema)}"),
            Statement(f"GRANT ALL PRIVILEGES ON {_literally(self._name(access.helper_schema))}.* TO {user}"),
        ]

    def let_pipeline_out(self, access: PipelineAccess) -> list[Statement]:
        user, helper = self._user(access), self._name(access.helper_schema)
        if access.new_user:
            taken = [Statement(self.drop(access), "All rights of the account end with it.")]
        else:
            lineage = (f"{self._name(s)}.{self._name(LINEAGE)}" for s in self._listed(access))
            taken = [
                *(Statement(f"REVOKE SELECT, REFERENCES ON {what} FROM {user}") for what in self._sources(access)),
                *(Statement(f"REVOKE SELECT ON {what} FROM {user}") for what in lineage),
                Statement(f"REVOKE ALL PRIVILEGES ON {_literally(helper)}.* FROM {user}"),
            ]
        return [*taken, *dropping([f"DROP SCHEMA {helper}"])]

    def _sources(self, access: PipelineAccess) -> list[str]:
        """What is read and referred to: all of a schema, whose name is a pattern then, or its tables."""
        return [
            what
            for schema, tables in access.schemas.items()
            for what in (
                [f"{_literally(self._name(schema))}.*"]
                if tables is None
                else [f"{self._name(schema)}.{self._name(table)}" for table in tables]
            )
        ]

    def _listed(self, access: PipelineAccess) -> list[str]:
        """The schemas of which tables are granted, and which have the table of where attributes come from."""
        return [schema for schema in access.lineage if access.schemas.get(schema) is not None]

    def _drops(self, access: Access) -> list[str]:
        return [f"DROP TABLE {table}" for table in self._helpers(access)]

    def _forgets(self, access: Access) -> list[str]:
        names = map(self._text, access.helper_tables)
        return [f"DELETE FROM {self._lineage(access)} WHERE table_name = {name}" for name in names]

    def _lineage(self, access: Access) -> str:
        return f"{self._name(access.helper_schema)}.{self._name(LINEAGE)}"

    def on_table(self, rights: Sequence[str], schema: str, table: str, account: str) -> str:
        return f"GRANT {', '.join(rights)} ON {plain(self.dialect.full_name(schema, table))} TO {account};"

    def of_role(self, role: str, account: str) -> str:
        if isinstance(self.dialect, MariaDB):
            return f"SET DEFAULT ROLE {plain(self.dialect.quote(role))} FOR {account};"
        return f"SET DEFAULT ROLE ALL TO {account};"

    def on_helper(self, schema: str, table: str, account: str) -> str:
        create = f"CREATE SCHEMA IF NOT EXISTS {plain(self.dialect.quote(schema))};"
        return (
            f"{create} {self.on_table(['ALL PRIVILEGES'], schema, table, account)} {self.on_lineage(schema, account)}"
        )

    def on_schema(self, schema: str, account: str) -> str:
        return f"GRANT ALL PRIVILEGES ON {_literally(plain(self.dialect.quote(schema)))}.* TO {account};"

    def on_temporary(self, place: str, account: str) -> str:
        # A right on just this schema hides those on all schemas of a pattern: it may not be a single one.
        return self.on_schema(place, account)

    def on_lineage(self, schema: str, account: str) -> str:
        return self.on_table(_LINEAGE_RIGHTS, schema, LINEAGE, account)

    def let_member_in(self, access: Access | PipelineAccess, member: str) -> list[Statement]:
        grants = self.of_member(access.helper_schema, member_rights(access))
        looking = because(
            "Only where everybody has DataJoint 0.13 or 0.14, which then name the helper table to who is refused a\n"
            "held row; others delete nothing at all with it:",
            [f"GRANT SELECT ON {table} TO {self.member(member)}" for table in self._helpers(access)],
            optional=True,
        )
        flagging = because(
            f"{self.member(member)} needs nothing here, and is best left without any right on the helper schema:\n"
            "DataJoint then deletes what nobody holds, and is refused what is held.\n"
            "Only for who shall flag rows. With it DataJoint's delete() takes holds away, unless datajoint-link guard\n"
            "has been used:",
            [plain(f"GRANT {what} TO {self.member(member)}") for what in grants],
            optional=True,
        )
        return [*flagging, *looking]

    def guard(self, tables: Sequence[Guarded], user: str) -> list[Statement]:
        # CURRENT_USER() is who has made the trigger. A name is told from another by its bytes, as in a login.
        name = "LEFT(USER(), CHAR_LENGTH(USER()) - LOCATE('@', REVERSE(USER())))"
        stranger = f"CAST({name} AS BINARY) <> CAST({self._text(user)} AS BINARY)"
        return [statement for table in tables for statement in self._guard(table, stranger)]

    def _guard(self, table: Guarded, stranger: str) -> list[Statement]:
        deprecated = self._name(LINK.columns["is_deprecated"])
        columns = [self._name(column) for column in table.fixed]
        changed = " OR ".join(f"NOT CAST(OLD.{c} AS BINARY) <=> CAST(NEW.{c} AS BINARY)" for c in columns)
        rules = {
            "DELETE": f"OLD.{deprecated} <> {self._text(TRUE)} AND {stranger}",
            "UPDATE": f"{stranger} AND ({changed})",
        }
        bodies = (
            f"IF {condition} THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = {self._text(refusal)}; END IF"
            for condition, refusal in zip(rules.values(), table.refusals, strict=True)
        )
        on = f"{self._name(table.schema)}.{self._name(table.name)}"
        return [
            *self.unguard(table.schema, [table.name]),
            *(
                Statement(
                    f"CREATE TRIGGER {self._trigger(table.schema, table.name, event)} BEFORE {event} ON {on} "
                    f"FOR EACH ROW {body}",
                    pieces=True,
                )
                for event, body in zip(rules, bodies, strict=True)
            ),
        ]

    def unguard(self, schema: str, tables: Sequence[str]) -> list[Statement]:
        return [
            Statement(f"DROP TRIGGER IF EXISTS {self._trigger(schema, table, event)}")
            for table in tables
            for event in ("DELETE", "UPDATE")
        ]

    def _trigger(self, schema: str, table: str, event: str) -> str:
        # A trigger has a name among all of a schema, and a table's may be as long as a name can be.
        name = f"link_guard_{event.lower()}_{zlib.crc32(table.encode()):08x}"
        return f"{self._name(schema)}.{self._name(name)}"

    def member(self, name: str) -> str:
        user, _, client_host = name.rpartition("@") if "@" in name else (name, "", "%")
        return self._account(user, client_host)

    def _user(self, access: Access | PipelineAccess) -> str:
        return self._account(access.user, access.client_host)

    def _account(self, user: str, client_host: str) -> str:
        checked(user, len(user) <= 128, "the name of an account")
        return f"{self._text(user)}@{self._text(client_host)}"

    def _tables(self, access: Access) -> list[str]:
        return [f"{self._name(access.source_schema)}.{self._name(table)}" for table in access.tables]

    def _tracking(self, access: Access) -> list[str]:
        return [f"{self._name(access.source_schema)}.{self._name(table)}" for table in access.tracking_tables]

    def _helpers(self, access: Access | PipelineAccess) -> list[str]:
        return [f"{self._name(access.helper_schema)}.{self._name(table)}" for table in access.helper_tables]

    def _name(self, name: str) -> str:
        return plain(self.dialect.quote(checked(name, self.dialect.fits(name), "a name on MySQL")))

    def _text(self, text: str) -> str:
        return plain(self.dialect.text(text))


def _literally(name: str) -> str:
    """A schema, and no other, in a grant on all of it."""
    return re.sub(r"([\\_%])", r"\\\1", name)
