-- Tables elsewhere, with a password that must not be shown.
DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'postgres_fdw') THEN RETURN; END IF;
  CREATE EXTENSION postgres_fdw;
  CREATE SERVER elsewhere TYPE 'it''s' FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '1', dbname 'x y''z');
  CREATE USER MAPPING FOR awkward_owner SERVER elsewhere OPTIONS (user 'u', password 'fdw-secret-''x');
  CREATE FOREIGN TABLE remote (n int OPTIONS (column_name 'N'), t text NOT NULL) SERVER elsewhere OPTIONS (table_name 'some table');
  CREATE TABLE local (n int, t text);
  ALTER FOREIGN TABLE remote INHERIT local;
  INSERT INTO local VALUES (1, 'here');
END $$;
CREATE FOREIGN DATA WRAPPER nothing;
