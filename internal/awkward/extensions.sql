-- The extensions that come with PostgreSQL, as far as they are installed, with columns of their types.
CREATE SCHEMA ext;
DO $do$
DECLARE
  wanted text[] := ARRAY[
    'hstore', '"a"=>"1", "b"=>NULL, "it''s"=>"\"\\"', 'citext', 'CaSe', 'ltree', 'Top.Science', 'cube', '(1, 2),(3, 4)', 'seg', '1.5 .. 2',
    'isn', NULL, 'pg_trgm', NULL, 'uuid-ossp', NULL, 'pgcrypto', NULL, 'btree_gist', NULL, 'btree_gin', NULL, 'intarray', NULL, 'unaccent', NULL,
    'fuzzystrmatch', NULL, 'tablefunc', NULL, 'lo', '12345', 'earthdistance', NULL];
  name text; value text; i int;
BEGIN
  FOR i IN 1 .. cardinality(wanted) BY 2 LOOP
    name := wanted[i]; value := wanted[i + 1];
    CONTINUE WHEN NOT EXISTS (SELECT FROM pg_available_extensions a WHERE a.name = wanted[i]);
    -- earthdistance cannot be moved away from cube's functions.
    EXECUTE format('CREATE EXTENSION %I SCHEMA %I CASCADE', name, CASE WHEN name IN ('cube', 'earthdistance') THEN 'public' ELSE 'ext' END);
    CONTINUE WHEN value IS NULL;
    EXECUTE format('CREATE TABLE %I (id int PRIMARY KEY, value %s)', 'with ' || name, (SELECT format('%I.%I', nspname, typname)
      FROM pg_type t JOIN pg_namespace n ON n.oid = typnamespace WHERE typname = wanted[i] AND nspname IN ('ext', 'public')));
    EXECUTE format('INSERT INTO %I VALUES (1, %L), (2, NULL)', 'with ' || name, value);
  END LOOP;
  IF EXISTS (SELECT FROM pg_extension WHERE extname = 'btree_gist') THEN
    CREATE TABLE booking (room int, during tsrange, EXCLUDE USING gist (room WITH =, during WITH &&));
    INSERT INTO booking VALUES (1, '[2024-01-01, 2024-01-02)'), (2, '[2024-01-01, 2024-01-02)');
  END IF;
  IF EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_trgm') THEN
    CREATE TABLE searched (t text);
    INSERT INTO searched SELECT md5(n::text) FROM generate_series(1, 100) n;
    CREATE INDEX ON searched USING gin (t ext.gin_trgm_ops);
  END IF;
  IF EXISTS (SELECT FROM pg_extension WHERE extname = 'uuid-ossp') THEN
    CREATE TABLE made (id uuid DEFAULT ext.uuid_generate_v4());
    INSERT INTO made DEFAULT VALUES;
  END IF;
END $do$;
