"""What the user of a running engine may do: read all, add everywhere, change no record.

Records are the tables whose rows are never changed (the journal, fills, risk events and the like):
those that carry the trigger ``refuse_change``. A trigger can be switched off by whoever owns the
table; a user without the right to change it can not.
"""

from __future__ import annotations

import psycopg
from psycopg import sql

from engine.errors import ConfigError

__all__ = ["grant"]

_SCHEMAS = ("strategy_worker", "gateway")
_ROLE = "SELECT rolsuper FROM pg_roles WHERE rolname = %s"
_TABLES = """
SELECT n.nspname, c.relname, pg_has_role(%(role)s, c.relowner, 'USAGE'), EXISTS (
    SELECT 1 FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
    WHERE t.tgrelid = c.oid AND p.proname = 'refuse_change')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY(%(schemas)s) AND c.relkind = 'r' AND c.relname <> 'schema_migrations'
ORDER BY 1, 2"""


def grant(connection: psycopg.Connection, role: str) -> None:
    """Give a role what a running engine needs, and take from it what it had beyond that.

    Args:
        connection: in autocommit mode, of the owner of the schema.
        role: name of the role; it must be there.

    Raises:
        ConfigError: there is no such role, it may do everything anyway, or this user may not
            grant.
    """
    found = connection.execute(_ROLE, [role]).fetchone()
    if found is None:
        raise ConfigError(f"there is no role {role!r}: create it, CREATE ROLE ... LOGIN")
    tables = connection.execute(_TABLES, {"role": role, "schemas": list(_SCHEMAS)}).fetchall()
    if found[0] or any(is_owner for _, _, is_owner, _ in tables):
        what = "is a superuser" if found[0] else "owns the tables"
        raise ConfigError(f"role {role!r} {what} and can change every record: take another one")
    try:
        with connection.transaction():
            _grant(connection, role, [(schema, name, kept) for schema, name, _, kept in tables])
    except psycopg.errors.InsufficientPrivilege as error:
        raise ConfigError(
            f"this user may not grant to {role!r}: {error.diag.message_primary}; run engine db "
            "migrate as the owner of the schema"
        ) from error


def _grant(connection: psycopg.Connection, role: str, tables: list[tuple[str, str, bool]]) -> None:
    to = sql.Identifier(role)
    for schema in _SCHEMAS:
        inside = sql.Identifier(schema)
        for statement in (
            "REVOKE ALL ON ALL TABLES IN SCHEMA {0} FROM {1}",
            "GRANT USAGE ON SCHEMA {0} TO {1}",
            "GRANT SELECT ON ALL TABLES IN SCHEMA {0} TO {1}",
        ):
            connection.execute(sql.SQL(statement).format(inside, to))
    for schema, name, is_record in tables:
        rights = sql.SQL("INSERT" if is_record else "INSERT, UPDATE")
        connection.execute(
            sql.SQL("GRANT {} ON {} TO {}").format(rights, sql.Identifier(schema, name), to)
        )
