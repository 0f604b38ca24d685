"""The rights of accounts on PostgreSQL.

The link user owns the helper table, and the foreign key is checked with its owner's rights. An owner without rights on
the schema makes *every* delete in the source table fail, and ``DROP OWNED`` would drop the helper table with all its
holds. So the helper table is moved to the administrator first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..model.layouts import LINK
from ..model.states import TRUE
from .dialect import Dialect, plain
from .rights import (
    LINEAGE,
    Access,
    Guarded,
    MemberRights,
    PipelineAccess,
    Rights,
    Statement,
    because,
    checked,
    dropping,
    member_rights,
)

#: Of what is taken from an account that stays.
_SHARED = "Only if no other link of this account needs it. Who owns the schema can drop what is in it:"


class PostgreSQLRights(Rights):
    """What is granted on PostgreSQL.

    Parameters
    ----------
    dialect : Dialect
        How names are written.
    by_membership : bool
        Whether each membership tells if an account has the rights of a role; before version 16 the account does.
    """

    granter = "As its owner on"

    def __init__(self, dialect: Dialect, by_membership: bool = True) -> None:
        super().__init__(dialect)
        self._by_membership = by_membership

    def let_in(self, access: Access) -> list[Statement]:
        user, source = self._names(access.user, access.source_schema)
        return [
            *self._created(access),
            Statement(f"GRANT USAGE ON SCHEMA {source} TO {user}"),
            *(Statement(f"GRANT SELECT, REFERENCES ON {table} TO {user}") for table in self._tables(access)),
            *self._reserved(access),
        ]

    def _created(self, access: Access | PipelineAccess) -> list[Statement]:
        """The account."""
        (user,) = self._names(access.user)
        create = Statement(f"CREATE ROLE {user} LOGIN PASSWORD {_text(access.password)}", self._rules(access))
        connect = (Statement(f"GRANT CONNECT ON DATABASE {name} TO {user}") for name in self._database(access))
        return [*([create] if access.new_user else []), *connect]

    def _rules(self, access: Access | PipelineAccess) -> str:
        """What lets the account in by TLS alone."""
        if not access.require_tls:
            return "Without TLS all rows can be read on their way, and links say use_tls=False."
        quoted = (name and '"{}"'.format(name.replace('"', '""')) for name in (access.user, access.database))
        user, database = (name or "all" for name in quoted)
        return (
            "To let it in by TLS alone, put this into pg_hba.conf, before all lines that are for everybody, and\n"
            f"SELECT pg_reload_conf():\nhostssl {database} {user} all scram-sha-256\nhostnossl all {user} all reject"
        )

    def _reserved(self, access: Access | PipelineAccess) -> list[Statement]:
        """The helper schema, which is the account's own."""
        user, helper = self._names(access.user, access.helper_schema)
        return [
            Statement(
                f"GRANT {user} TO CURRENT_USER",
                "Only for an administrator who is no superuser; and after the next statement\n"
                f"REVOKE {user} FROM CURRENT_USER, as its members could delete held rows:",
                optional=True,
            ),
            Statement(f"CREATE SCHEMA IF NOT EXISTS {helper} AUTHORIZATION {user}"),
            Statement(
                f"ALTER SCHEMA {helper} OWNER TO {user}",
                "Only if that schema was there before. Its owner lets your users look at the helper table, without\n"
                "which DataJoint refuses to delete anything from the source table:",
                optional=True,
            ),
            Statement(
                "ALTER ROLE backup BYPASSRLS",
                "Only for an account that makes backups and is no superuser: pg_dump refuses tables whose rows are\n"
                "kept from others, as those of the helper table are, unless it is told --enable-row-security:",
                optional=True,
            ),
        ]

    def drop(self, access: Access | PipelineAccess) -> str:
        return f"DROP ROLE {self._names(access.user)[0]}"

    def let_pipeline_in(self, access: PipelineAccess) -> list[Statement]:
        (user,) = self._names(access.user)
        return [
            *self._created(access),
            *(Statement(f"GRANT USAGE ON SCHEMA {name} TO {user}") for name in self._names(*access.schemas)),
            *(Statement(f"GRANT SELECT, REFERENCES ON {what} TO {user}") for what in self._sources(access)),
            *(Statement(f"GRANT SELECT ON {table} TO {user}") for table in self._listed(access)),
            *self._by_default(access, f"GRANT SELECT, REFERENCES ON TABLES TO {user}"),
            *self._reserved(access),
        ]

    def let_pipeline_out(self, access: PipelineAccess) -> list[Statement]:
        user, helper = self._names(access.user, access.helper_schema)
        own = [f"ALTER SCHEMA {helper} OWNER TO CURRENT_USER"]
        own += [f"ALTER TABLE IF EXISTS {table} OWNER TO CURRENT_USER" for table in self._helpers(access)]
        rest = [f"REVOKE USAGE, CREATE ON SCHEMA {helper} FROM {user}"]
        rest += [f"REVOKE USAGE ON SCHEMA {name} FROM {user}" for name in self._names(*access.schemas)]
        rest += [f"REVOKE CONNECT ON DATABASE {name} FROM {user}" for name in self._database(access)]
        return [
            Statement(f"GRANT {user} TO CURRENT_USER", "Only for an administrator who is no superuser:", optional=True),
            *because(
                "First of all: foreign keys are checked with the rights of the helper tables' owner.",
                [f"REASSIGN OWNED BY {user} TO CURRENT_USER"] if access.new_user else own,
            ),
            *(Statement(f"REVOKE SELECT, REFERENCES ON {what} FROM {user}") for what in self._sources(access)),
            *(Statement(f"REVOKE SELECT ON {table} FROM {user}") for table in self._listed(access)),
            *self._by_default(access, f"REVOKE SELECT, REFERENCES ON TABLES FROM {user}"),
            *because("" if access.new_user else _SHARED, rest, optional=not access.new_user),
            *([Statement(self.drop(access))] if access.new_user else []),
            *dropping([f"DROP SCHEMA {helper} CASCADE"]),
        ]

    def _sources(self, access: PipelineAccess) -> list[str]:
        """What is read and referred to: all tables that a schema has, or some."""
        return [
            what
            for schema, tables in access.schemas.items()
            for what in (
                [f"ALL TABLES IN SCHEMA {self._names(schema)[0]}"]
                if tables is None
                else [".".join(self._names(schema, table)) for table in tables]
            )
        ]

    def _listed(self, access: PipelineAccess) -> list[str]:
        """Where DataJoint has written down where attributes come from, in schemas of which tables are granted."""
        listed = (schema for schema in access.lineage if access.schemas.get(schema) is not None)
        return [".".join(self._names(schema, LINEAGE)) for schema in listed]

    def _by_default(self, access: PipelineAccess, what: str) -> list[Statement]:
        """For tables that come later, in schemas that are granted whole: a matter of who makes them."""
        whole = [schema for schema, tables in access.schemas.items() if tables is None]
        statements = list[Statement]()
        for schema in whole:
            (name,) = self._names(schema)
            owners = access.owners.get(schema, ())
            why = "Who makes tables in it was not looked up (--host does): put the role here."
            for owner in self._names(*owners) or ['"owner"']:
                alter = f"ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {name} {what}"
                statements.append(Statement(alter, "" if owners else why, optional=not owners))
        return statements

    def let_out(self, access: Access) -> list[Statement]:
        user, source, helper = self._names(access.user, access.source_schema, access.helper_schema)
        lineage = ".".join(self._names(access.helper_schema, LINEAGE))
        own = [f"ALTER SCHEMA {helper} OWNER TO CURRENT_USER", f"ALTER TABLE IF EXISTS {lineage} OWNER TO CURRENT_USER"]
        rest = [
            *([] if access.new_user else own),
            f"REVOKE USAGE, CREATE ON SCHEMA {helper} FROM {user}",
            f"REVOKE USAGE ON SCHEMA {source} FROM {user}",
        ]
        rest += [f"REVOKE CONNECT ON DATABASE {name} FROM {user}" for name in self._database(access)]
        return [
            Statement(f"GRANT {user} TO CURRENT_USER", "Only for an administrator who is no superuser:", optional=True),
            *because(
                "First of all: the foreign key is checked with the rights of the helper table's owner.",
                self._disown(access, user),
            ),
            *(Statement(f"REVOKE SELECT, REFERENCES ON {table} FROM {user}") for table in self._tables(access)),
            *because("" if access.new_user else _SHARED, rest, optional=not access.new_user),
            *([Statement(self.drop(access))] if access.new_user else []),
            *dropping(
                [
                    *(f"DROP TABLE {table}" for table in self._helpers(access)),
                    *(f"DELETE FROM {lineage} WHERE table_name = {_text(name)}" for name in access.helper_tables),
                ]
            ),
        ]

    def _disown(self, access: Access, user: str) -> list[str]:
        if access.new_user:
            return [f"REASSIGN OWNED BY {user} TO CURRENT_USER"]
        return [f"ALTER TABLE IF EXISTS {table} OWNER TO CURRENT_USER" for table in self._helpers(access)]

    def on_table(self, rights: Sequence[str], schema: str, table: str, account: str) -> str:
        on_table = [right for right in rights if right != "USAGE"]
        grants = [f"GRANT USAGE ON SCHEMA {plain(self.dialect.quote(schema))} TO {account};"] * ("USAGE" in rights)
        if on_table:
            name = plain(self.dialect.full_name(schema, table))
            grants.append(f"GRANT {', '.join(on_table)} ON {name} TO {account};")
        return " ".join(grants)

    def of_role(self, role: str, account: str) -> str:
        if not self._by_membership:
            return f"ALTER ROLE {account} INHERIT;"
        return f"GRANT {plain(self.dialect.quote(role))} TO {account} WITH INHERIT TRUE;"

    def on_helper(self, schema: str, table: str, account: str) -> str:
        return self.on_schema(schema, account)

    def on_schema(self, schema: str, account: str) -> str:
        name = plain(self.dialect.quote(schema))
        create = f"CREATE SCHEMA IF NOT EXISTS {name} AUTHORIZATION {account};"
        return f"{create} GRANT USAGE, CREATE ON SCHEMA {name} TO {account};"

    def on_temporary(self, place: str, account: str) -> str:
        return f"GRANT TEMPORARY ON DATABASE {plain(self.dialect.quote(place))} TO {account};"

    def on_lineage(self, schema: str, account: str) -> str:
        return self.owning(schema, [LINEAGE], account)

    def let_member_in(self, access: Access | PipelineAccess, member: str) -> list[Statement]:
        grants = self.of_member(access.helper_schema, member_rights(access))
        return because(
            "Once the link has been used; when it is next used it gives this by itself to whoever may delete from a\n"
            "source table. DataJoint then deletes what nobody holds; the server keeps the rows that hold.",
            [plain(f"GRANT {what} TO {self.member(member)}") for what in grants],
        )

    def guard(self, tables: Sequence[Guarded], user: str) -> list[Statement]:
        if not tables:
            return []
        function = self._guard(tables[0].schema)
        made = Statement(f"CREATE OR REPLACE FUNCTION {function} RETURNS trigger {_guarding()}")
        return [made, *(statement for table in tables for statement in self._triggers(table))]

    def _triggers(self, table: Guarded) -> list[Statement]:
        schema, name = self._names(table.schema, table.name)
        refusals = ", ".join(map(_text, table.refusals))
        return [
            Statement(
                f"CREATE OR REPLACE TRIGGER {trigger} BEFORE {event} ON {schema}.{name} FOR EACH {what} "
                f"EXECUTE FUNCTION {schema}.link_guard({refusals})"
            )
            for trigger, event, what in (
                ("link_guard", "DELETE OR UPDATE", "ROW"),
                ("link_guard_all", "TRUNCATE", "STATEMENT"),
            )
        ]

    def unguard(self, schema: str, tables: Sequence[str]) -> list[Statement]:
        names = [".".join(self._names(schema, table)) for table in tables]
        return [
            *(
                Statement(f"DROP TRIGGER IF EXISTS {trigger} ON {name}")
                for name in names
                for trigger in ("link_guard", "link_guard_all")
            ),
            Statement(f"DROP FUNCTION IF EXISTS {self._guard(schema)}"),
        ]

    def _guard(self, schema: str) -> str:
        return f"{self._names(schema)[0]}.link_guard()"

    def member(self, name: str) -> str:
        return self.dialect.quote(checked(name, self.dialect.fits(name), "a name on PostgreSQL"))

    def of_member(self, schema: str, rights: MemberRights) -> list[str]:
        return [f"USAGE ON SCHEMA {self.dialect.quote(schema)}", *super().of_member(schema, rights)]

    def owning(self, schema: str, tables: Iterable[str], account: str) -> str:
        names = [plain(self.dialect.full_name(schema, table)) for table in tables]
        own = [f"SCHEMA {plain(self.dialect.quote(schema))}", *(f"TABLE IF EXISTS {name}" for name in names)]
        return " ".join(f"ALTER {what} OWNER TO {account};" for what in own)

    def _database(self, access: Access | PipelineAccess) -> list[str]:
        return [] if access.database is None else self._names(access.database)

    def _tables(self, access: Access) -> list[str]:
        return [".".join(self._names(access.source_schema, table)) for table in access.tables]

    def _helpers(self, access: Access | PipelineAccess) -> list[str]:
        return [".".join(self._names(access.helper_schema, table)) for table in access.helper_tables]

    def _names(self, *names: str) -> list[str]:
        # The server would cut a longer name off, and that might be the name of another table.
        fitting = (checked(name, self.dialect.fits(name), "a name on PostgreSQL") for name in names)
        return [plain(self.dialect.quote(name)) for name in fitting]


def _guarding() -> str:
    """The body of the guard's function: but for the owner of the table, which the link user is, it is asked what goes.

    A superuser has every role: so the owner is known by his name.
    """
    flag, deprecated = LINK.columns["is_flagged"], LINK.columns["is_deprecated"]
    return f"""LANGUAGE plpgsql SET search_path = pg_catalog AS $guard$
BEGIN
  IF current_user <> (SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = TG_RELID) THEN
    IF TG_OP = 'UPDATE' THEN
      IF to_jsonb(NEW) - '{flag}' <> to_jsonb(OLD) - '{flag}' THEN
        RAISE EXCEPTION USING MESSAGE = TG_ARGV[1];
      END IF;
    ELSIF TG_OP = 'TRUNCATE' OR to_jsonb(OLD) ->> '{deprecated}' <> '{TRUE}' THEN
      RAISE EXCEPTION USING MESSAGE = TG_ARGV[0];
    END IF;
  END IF;
  IF TG_OP = 'DELETE' THEN
    RETURN OLD;
  END IF;
  RETURN NEW;
END
$guard$"""


def _text(text: str) -> str:
    quoted = text.replace("'", "''")
    # E'' means the same under either setting of standard_conforming_strings
    return f"'{quoted}'" if "\\" not in text else "E'" + quoted.replace("\\", "\\\\") + "'"
