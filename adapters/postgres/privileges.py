"""What the user of a running engine may do: read all, add everywhere, change no record.

Records are the tables whose rows are never changed (the journal, fills, risk events and the like):
those that carry the trigger ``refuse_change``. A trigger can be switched off by whoever owns the
table; a user without the right to change it can not. A role has rights by way of others too, and
everybody has those of PUBLIC: what counts is what it could do in the end.
"""

from __future__ import annotations

import psycopg
from psycopg import sql

from engine.errors import ConfigError

__all__ = ["changeable", "grant"]

_SCHEMAS = ("strategy_worker", "gateway")
_ROLE = "SELECT rolsuper FROM pg_roles WHERE rolname = %s"
_TABLES = """
SELECT n.nspname, c.relname, pg_has_role(%(role)s, c.relowner, 'USAGE'), EXISTS (
    SELECT 1 FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
    WHERE t.tgrelid = c.oid AND p.proname = 'refuse_change')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY(%(schemas)s) AND c.relkind = 'r' AND c.relname <> 'schema_migrations'
ORDER BY 1, 2"""
# Whom a role may become has the rights of a superuser or an owner as well, with or without asking.
_CHANGEABLE = """
SELECT DISTINCT n.nspname || '.' || c.relname
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, pg_roles r
WHERE n.nspname = ANY(%(schemas)s) AND c.relkind = 'r' AND EXISTS (
    SELECT 1 FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
    WHERE t.tgrelid = c.oid AND p.proname = 'refuse_change')
AND pg_has_role(coalesce(%(role)s, current_user), r.oid, 'MEMBER')
AND (r.oid IN (c.relowner, n.nspowner) OR has_table_privilege(r.oid, c.oid, 'UPDATE')
    OR has_table_privilege(r.oid, c.oid, 'DELETE') OR has_table_privilege(r.oid, c.oid, 'TRUNCATE')
    OR has_table_privilege(r.oid, c.oid, 'TRIGGER')
    OR has_any_column_privilege(r.oid, c.oid, 'UPDATE'))
ORDER BY 1"""


def changeable(connection: psycopg.Connection, role: str | None = None) -> list[str]:
    """Give the tables of records that a role could change, however it came by the right.

    Args:
        connection: in autocommit mode.
        role: name of the role; the connected user when None.
    """
    rows = connection.execute(_CHANGEABLE, {"role": role, "schemas": list(_SCHEMAS)}).fetchall()
    return [str(row[0]) for row in rows]


def grant(connection: psycopg.Connection, role: str) -> None:
    """Give a role what a running engine needs, and take from it what it had beyond that.

    Args:
        connection: in autocommit mode, of the owner of the schema.
        role: name of the role; it must be there.

    Raises:
        ConfigError: there is no such role, it could change records all the same, or this user may
            not grant. Nothing is granted then.
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
            if left := changeable(connection, role):
                raise ConfigError(
                    f"role {role!r} could still change {left[0]}, by a role that it is a member of "
                    "or by what PUBLIC may do: revoke that, or take another role"
                )
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
    # A gateway forgets an order that the venue never had: it may be asked for again.
    connection.execute(sql.SQL("GRANT DELETE ON gateway.orders TO {}").format(to))
