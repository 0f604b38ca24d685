"""The session variables that are not left as a server, an account, a database or a pool has them, and why.

What may cut rows, stop or alter our statements or the text of values is set in every session of ours, by one statement.
``SESSION x = DEFAULT`` would be no help: the default is what the administrator has set. What no session may set is
checked when a link is first used (:meth:`link.servers.site.Site.require_fit`).

Read for this: SHOW SESSION VARIABLES of MySQL 9.7 and MariaDB 10.11, pg_settings of PostgreSQL 18, and what mysqldump,
mydumper, pg_dump and pgcopydb set. Left alone is what only makes things slow (optimizer, buffers, parallel workers) or
fails aloud and by right (quotas of memory and temporary files); character sets, which the drivers set after whatever
``init_connect`` says; and ``search_path``, which triggers of the lab may rely on: our statements name schemas in full.
By what closes a server to changes its administrator means us, too: that is asked before anything is changed at either
end (:meth:`link.servers.session.Session.require_changes`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

#: Seconds that a statement waits for a lock before it is tried again.
LOCK_SECONDS = 50
#: Seconds that a statement may run on at a server that does not notice when its client is gone.
STATEMENT_SECONDS = 3600
#: Seconds that a wire or a transaction may rest: files are copied meanwhile, or the other server is slow.
REST_SECONDS = 3600
#: 24 days, the longest that every system takes.
_LONG = 2_147_483
#: By what a server takes no changes, at the moment or as a replica.
MYSQL_CLOSED = ("transaction_read_only", "read_only", "super_read_only", "innodb_read_only")
MARIADB_CLOSED = ("tx_read_only", "read_only", "innodb_read_only")
POSTGRESQL_CLOSED = "default_transaction_read_only"
#: How it is seen.
MYSQL_LOOK = "SHOW VARIABLES LIKE '%read_only'"
POSTGRESQL_LOOK = f"SELECT setting, source FROM pg_settings WHERE name = '{POSTGRESQL_CLOSED}'"
#: More rows than there are: what MySQL and MariaDB take for none.
NO_LIMIT = 18_446_744_073_709_551_615


class Setting(NamedTuple):
    """One session variable.

    Attributes
    ----------
    name, value : str
        The variable, and its value as SQL.
    why : str
        What it could do to us.
    since : tuple of int
        The first version of the server that has it, where that is not the oldest supported.
    browsing : bool
        Whether it is set on DataJoint's own connection to a source as well: what would cut or alter results in
        silence, keep a link from being made, or let statements go on that nobody waits for.
    """

    name: str
    value: str
    why: str
    since: tuple[int, ...] = ()
    browsing: bool = False


def fitting(settings: Iterable[Setting], version: tuple[int, ...], browsing: bool) -> list[Setting]:
    """Those that a server of some version has, and that are set in a session of ours, or on DataJoint's connection."""
    return [s for s in settings if s.since <= version and (s.browsing or not browsing)]


_BOTH = (
    # what would cut, or choose other rows
    Setting("sql_select_limit", str(NO_LIMIT), "cuts every result in silence", browsing=True),
    Setting("max_sort_length", "65535", "longer texts are sorted by their beginning: pages of keys would miss some"),
    Setting("sql_auto_is_null", "0", "`x IS NULL` may find the row inserted last", browsing=True),
    # what would stop our statements
    Setting("sql_big_selects", "1", "max_join_size refuses joins, also of the catalogue", browsing=True),
    Setting("sql_safe_updates", "0", "refuses UPDATE and DELETE by what it takes for no key"),
    Setting("innodb_lock_wait_timeout", str(LOCK_SECONDS), "too short: busy rows are given up; too long: no retry"),
    Setting("lock_wait_timeout", str(REST_SECONDS), "the same for an ALTER TABLE at work"),
    Setting("wait_timeout", str(_LONG), "ends sessions that rest while files are copied"),
    Setting("net_write_timeout", str(REST_SECONDS), "ends a read that waits for files to be copied"),
    Setting("net_read_timeout", str(REST_SECONDS), "ends a session over a slow wire"),
    # what would change what our statements do
    Setting("autocommit", "1", "nothing would be kept"),
    Setting("completion_type", "0", "COMMIT may begin another transaction at once, or end the session"),
    Setting("foreign_key_checks", "1", "a hold of a row that is not there; local rows without their parents"),
    Setting("unique_checks", "1", "rows that are there twice"),
    Setting("sql_buffer_result", "0", "keeps whole tables aside before the first row comes"),
    # what would change the text of values, of refusals, or of definitions
    Setting("time_zone", "'+00:00'", "a TIMESTAMP is shown in it, and one hour a year is refused"),
    Setting(
        "sql_mode",
        "'STRICT_ALL_TABLES,ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION'",
        "loose modes change values, ANSI and ORACLE the language",
    ),
    Setting("lc_messages", "'en_US'", "what is refused would be told in many languages", browsing=True),
    Setting("sql_quote_show_create", "1", "definitions are read from SHOW CREATE TABLE"),
)

MYSQL = (
    *_BOTH,
    Setting("transaction_isolation", "'READ-COMMITTED'", "others lock gaps, or see what is not committed"),
    Setting("explicit_defaults_for_timestamp", "1", "a TIMESTAMP would change with every UPDATE", since=(9, 7)),
    Setting(
        "max_execution_time",
        str(STATEMENT_SECONDS * 1000),
        "ends reads that take longer; and ours when we are gone",
        browsing=True,
    ),
)

MARIADB = (
    *_BOTH,
    Setting("tx_isolation", "'READ-COMMITTED'", "others lock gaps, or see what is not committed"),
    Setting(
        "max_statement_time",
        str(STATEMENT_SECONDS),
        "ends statements that take longer; and ours when we are gone",
        browsing=True,
    ),
    Setting("system_versioning_asof", "DEFAULT", "shows the rows of another day", browsing=True),
    Setting("idle_transaction_timeout", "0", "ends a transaction while rows are on their way"),
    Setting("idle_readonly_transaction_timeout", "0", "the same"),
    Setting("idle_write_transaction_timeout", "0", "the same"),
    Setting("check_constraint_checks", "1", "rows that the table's own checks refuse"),
    Setting("old_mode", "'UTF8_IS_UTF8MB3'", "casts of times to dates, names of character sets"),
    Setting("explicit_defaults_for_timestamp", "1", "a TIMESTAMP would change with every UPDATE", since=(10, 8, 2)),
    # It answers EXISTS by copying the other table aside; for every chunk, the whole helper table.
    Setting("optimizer_switch", "'exists_to_in=off'", "slow"),
)

#: What PostgreSQL is told beside :data:`POSTGRESQL`, for this cannot be said by a value. Statements end with their
#: client; where its system cannot tell that the client is gone, when their time is over.
POSTGRESQL_ENDING = (
    "DO $$ BEGIN PERFORM set_config('client_connection_check_interval', '5s', false); EXCEPTION WHEN OTHERS THEN "
    f"PERFORM set_config('statement_timeout', '{STATEMENT_SECONDS}s', false); END $$"
)
#: A hold that is committed must outlive a power cut, or rows would be here that are not held. More than that may be.
POSTGRESQL_KEPT = (
    "SELECT set_config(name, CASE setting WHEN 'off' THEN 'on' ELSE setting END, false) FROM "
    "(VALUES ('synchronous_commit', current_setting('synchronous_commit'))) AS s(name, setting)"
)

POSTGRESQL = (
    # First, for it ends the very statements that follow.
    Setting("statement_timeout", "0", "ends what takes longer; see POSTGRESQL_ENDING", browsing=True),
    Setting("transaction_timeout", "0", "the same", since=(17,)),
    # what would cut, or choose other rows
    Setting("row_security", "on", "off: an error, where a master table shares only some of its rows", browsing=True),
    Setting("transform_null_equals", "off", "`x = NULL` would find rows", browsing=True),
    # what would stop our statements
    Setting("lock_timeout", f"'{LOCK_SECONDS}s'", "too short: busy rows are given up; too long: no retry"),
    Setting("idle_session_timeout", "0", "ends sessions that rest while files are copied"),
    Setting("idle_in_transaction_session_timeout", "0", "the same within a snapshot"),
    Setting("default_transaction_deferrable", "off", "a snapshot may wait for ever"),
    Setting("exit_on_error", "off", "any refusal would end the session"),
    # what would change what our statements do
    Setting("default_transaction_isolation", "'read committed'", "others fail, and see holds too late"),
    Setting("default_table_access_method", "heap", "a table of another kind takes no foreign keys"),
    # what would change the text of values
    Setting("TimeZone", "'UTC'", "a time with zone is shown in it"),
    Setting("DateStyle", "'ISO, MDY'", "dates are shown in it"),
    Setting("IntervalStyle", "postgres", "intervals are shown in it"),
    Setting("extra_float_digits", "1", "less: floats are rounded", browsing=True),
    Setting("bytea_output", "hex", "bytes are shown in it"),
    Setting("array_nulls", "on", "off: NULL in an array is a text"),
    Setting("xmloption", "content", "document: fragments are refused"),
    Setting("client_encoding", "'UTF8'", "text is shown in it"),
    Setting("standard_conforming_strings", "on", "off: a backslash in a text is no backslash"),
    Setting("backslash_quote", "safe_encoding", "how literals may be quoted"),
    Setting("quote_all_identifiers", "off", "definitions would be written otherwise"),
    # the server, too, notices when we are gone without a word
    Setting("tcp_keepalives_idle", "30", "a wire that was cut"),
    Setting("tcp_keepalives_interval", "10", "the same"),
    Setting("tcp_keepalives_count", "3", "the same"),
)
