-- The users of a database, for psql, as a superuser, connected to that database:
--     dlr_owner migrates, the workers run as dlr_writer, dlr_reader sees only the views, dlr_web is the worklist page,
--     dlr_shadow adds scores of versions that are not in service.
-- The passwords are read from files, so that none is on a command line. Safe to run again: it sets the passwords again. If
-- a file is missing or blank, nothing is changed: PostgreSQL would remove the password of a role that is in use.
\set ON_ERROR_STOP on
\set owner_password `cat "${SECRETS_DIR:-/run/secrets}/dlr_database_owner_password"`
\set writer_password `cat "${SECRETS_DIR:-/run/secrets}/dlr_database_password"`
\set reader_password `cat "${SECRETS_DIR:-/run/secrets}/dlr_reader_password"`
\set web_password `cat "${SECRETS_DIR:-/run/secrets}/dlr_web_database_password"`
\set shadow_password `cat "${SECRETS_DIR:-/run/secrets}/dlr_shadow_database_password"`

-- Keeps statements with passwords out of the server's log.
SET log_statement = 'none';
SET log_min_error_statement = 'panic';
SET log_min_duration_statement = -1;

SELECT string_agg(file, ', ') AS blank, count(*) > 0 AS is_blank
FROM (VALUES ('dlr_database_owner_password', :'owner_password'), ('dlr_database_password', :'writer_password'),
             ('dlr_reader_password', :'reader_password'), ('dlr_web_database_password', :'web_password'),
             ('dlr_shadow_database_password', :'shadow_password')) AS secret (file, password)
WHERE password !~ '\S'
\gset
\if :is_blank
    \warn 'no password in the folder SECRETS_DIR (else /run/secrets) in:' :blank
    DO $$ BEGIN RAISE EXCEPTION 'passwords are missing: nothing was changed'; END $$;
\endif

BEGIN;

SELECT format('CREATE ROLE %I', name)
FROM unnest(ARRAY['dlr_owner', 'dlr_writer', 'dlr_reader', 'dlr_web', 'dlr_shadow']) AS name
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name)
\gexec

ALTER ROLE dlr_owner LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'owner_password';
ALTER ROLE dlr_writer LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'writer_password';
ALTER ROLE dlr_reader LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'reader_password';
ALTER ROLE dlr_web LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'web_password';
ALTER ROLE dlr_shadow LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'shadow_password';

ALTER DATABASE :"DBNAME" OWNER TO dlr_owner;
REVOKE ALL ON DATABASE :"DBNAME" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"DBNAME" TO dlr_owner, dlr_writer, dlr_reader, dlr_web, dlr_shadow;

COMMIT;
