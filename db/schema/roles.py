"""The database roles: ``dlr_owner`` migrates, ``dlr_writer`` runs, ``dlr_reader`` sees the public views alone.

``dlr_web`` is the worklist page: four of the public views, and what the page reads beside them
(docs/decisions/0020-a-role-for-the-page.md). ``dlr_shadow`` scores stored lesions with versions that are not in
service: it adds predictions, and changes nothing (docs/decisions/0030-shadows-can-not-reach-a-worklist.md).
"""

from sqlalchemy import Connection, text

from db.errors import RoleRefused

OWNER = "dlr_owner"
WRITER = "dlr_writer"
READER = "dlr_reader"
WEB = "dlr_web"
SHADOW = "dlr_shadow"
ROLES = (OWNER, WRITER, READER, WEB, SHADOW)
_GUESTS = ", ".join((WRITER, READER, WEB, SHADOW))

# Another database of the same server may be migrated at this moment, hence the exception. Who creates a role without
# being a superuser administers it but cannot yet become it, hence the GRANT.
_CREATE = """
DO $$
BEGIN
    CREATE ROLE {role} NOLOGIN;
    IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('GRANT {role} TO %I', current_user);
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;
END
$$
"""

_SCHEMA_IS_OURS = "SELECT pg_has_role(current_user, nspowner, 'USAGE') FROM pg_namespace WHERE nspname = 'public'"
_SCHEMA_IS_PREPARED = """
    SELECT has_schema_privilege('dlr_owner', 'public', 'CREATE')
           AND NOT has_schema_privilege('public', 'public', 'CREATE')
           AND cardinality(:roles) = (
               SELECT count(DISTINCT grantee) FROM pg_namespace, aclexplode(nspacl) AS given
               WHERE nspname = 'public' AND privilege_type = 'USAGE'
                     AND grantee IN (SELECT oid FROM pg_roles WHERE rolname = ANY(:roles)))
"""
_MAY_CREATE_ROLES = "SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user"
_OWNER_MAY_CREATE = "SELECT has_schema_privilege('dlr_owner', 'public', 'CREATE')"


def prepare_roles(connection: Connection) -> None:
    """Create the roles that are missing and let them into the schema ``public``, as far as the login user may.

    Where nothing is missing nothing is written: a start does not fail for a database that is read-only for now.

    Raises:
        RoleRefused: something is missing that the login user cannot create; the message holds the SQL for an
            administrator.
    """
    there = set(connection.scalars(text("SELECT rolname FROM pg_roles WHERE rolname LIKE 'dlr%'")))
    missing = [role for role in ROLES if role not in there]
    if missing and not connection.scalar(text(_MAY_CREATE_ROLES)):
        wanted = " ".join(f"CREATE ROLE {role} NOLOGIN;" for role in missing)
        raise RoleRefused(f"this user may not create roles; ask an administrator for: {wanted}")
    for role in missing:
        connection.exec_driver_sql(_CREATE.format(role=role), execution_options={"no_parameters": True})
    is_prepared = connection.scalar(text(_SCHEMA_IS_PREPARED), {"roles": list(ROLES)})
    if not is_prepared and connection.scalar(text(_SCHEMA_IS_OURS)):
        connection.execute(text("REVOKE CREATE ON SCHEMA public FROM PUBLIC"))
        connection.execute(text(f"GRANT USAGE, CREATE ON SCHEMA public TO {OWNER}"))
        connection.execute(text(f"GRANT USAGE ON SCHEMA public TO {_GUESTS}"))
    if not connection.scalar(text(_OWNER_MAY_CREATE)):
        raise RoleRefused(
            f"{OWNER} may not create tables; ask an administrator for: "
            f"GRANT USAGE, CREATE ON SCHEMA public TO {OWNER}; "
            f"GRANT USAGE ON SCHEMA public TO {_GUESTS};"
        )
