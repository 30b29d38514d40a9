CREATE TYPE mood AS ENUM ('sad', 'it''s "ok"', E'new\nline', '', 'happy');
ALTER TYPE mood ADD VALUE 'so so' BEFORE 'happy';
CREATE TYPE pair AS (a int, "B c" text COLLATE "C");
CREATE TYPE nested AS (p pair, many pair[], m mood);
CREATE DOMAIN positive AS int DEFAULT 1 NOT NULL CONSTRAINT "is > 0" CHECK (VALUE > 0);
CREATE DOMAIN pairs AS pair[] CHECK (cardinality(VALUE) < 5);
CREATE DOMAIN old AS text CHECK (VALUE <> 'no');
CREATE FUNCTION distance(float8, float8) RETURNS float8 LANGUAGE sql IMMUTABLE STRICT AS 'SELECT $1 - $2';
CREATE TYPE floats AS RANGE (SUBTYPE = float8, SUBTYPE_DIFF = distance);
CREATE TYPE moods AS RANGE (SUBTYPE = mood);
CREATE TYPE later;
CREATE TABLE typed (m mood, p pair, n nested, d positive, ds pairs, f floats, r moods, o old, ms mood[], "table" pg_class);
INSERT INTO typed (m, p, n, d, ds, f, r, o, ms) VALUES
  ('it''s "ok"', ROW(1, 'a,"b)'), ROW(ROW(NULL, ''), ARRAY[ROW(2, NULL)::pair, NULL], ''), 3, ARRAY[ROW(1, E'\n')::pair], '[1.5,)', '[sad,happy]', 'yes', '{"",sad,NULL}'),
  (NULL, NULL, NULL, 1, '{}', 'empty', '(,)', NULL, '{}');
CREATE INDEX ON typed USING gist (f);
CREATE TABLE of_type OF pair (PRIMARY KEY (a), "B c" WITH OPTIONS NOT NULL DEFAULT 'x');
INSERT INTO of_type VALUES (1, 'y');
