-- A database with a bit of everything that pg_dump writes an entry for. The role that owns some of it is :owner.
CREATE EXTENSION pg_trgm;
CREATE SCHEMA ext;
CREATE EXTENSION hstore SCHEMA ext;
CREATE SCHEMA "Ventes d'été" AUTHORIZATION :owner;
COMMENT ON SCHEMA public IS 'ours';
ALTER SCHEMA public OWNER TO :owner;
ALTER DEFAULT PRIVILEGES FOR ROLE :owner IN SCHEMA "Ventes d'été" GRANT SELECT ON TABLES TO PUBLIC;

CREATE DOMAIN code AS text CHECK (VALUE ~ '^[A-Z]{2}\d+$');
CREATE TYPE mood AS ENUM ('triste', 'ça va', 'it''s "fine"');
CREATE TYPE pair AS (a integer, "b ""c""" text);
CREATE TYPE floats AS RANGE (subtype = float8, subtype_diff = float8mi);

CREATE TABLE "Ventes d'été"."ligne ""x""
\. de vente" (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code code, mood mood DEFAULT 'ça va', pair pair, floats floats, "col
umn; -- ""q""" text,
    price numeric(12,4) CHECK (price >= 0), qty integer, total numeric GENERATED ALWAYS AS (price * qty) STORED,
    doc jsonb, tags text[], grid integer[][], raw bytea, at timestamptz, h ext.hstore
);
ALTER TABLE "Ventes d'été"."ligne ""x""
\. de vente" OWNER TO :owner;
INSERT INTO "Ventes d'été"."ligne ""x""
\. de vente" (code, pair, floats, "col
umn; -- ""q""", price, qty, doc, tags, grid, raw, at, h)
SELECT 'AB' || i, ROW(i, E'p"\n')::pair, floats(i, i + 1.5), CASE i % 4 WHEN 0 THEN NULL WHEN 1 THEN E'\\.' WHEN 2 THEN E'a\tb\r\nc\\d\u00e9\U0001F600' ELSE '' END,
    i / 7.0, i, jsonb_build_object('i', i, 'é', ARRAY[i, NULL]), ARRAY['x', NULL, '{"', E'\\'], ARRAY[[i, 2], [3, 4]],
    decode(md5(i::text), 'hex'), '2026-01-01 00:00:00+00'::timestamptz + i * interval '1 hour', ext.hstore('k' || i, NULL)
FROM generate_series(1, 300) i;
DELETE FROM "Ventes d'été"."ligne ""x""
\. de vente" WHERE id % 10 = 3;
CREATE INDEX ON "Ventes d'été"."ligne ""x""
\. de vente" USING gin ("col
umn; -- ""q""" public.gin_trgm_ops);

CREATE TABLE empty (a integer, b text);
CREATE TABLE no_columns ();
INSERT INTO no_columns DEFAULT VALUES;
INSERT INTO no_columns DEFAULT VALUES;
CREATE TABLE dots (line text);
INSERT INTO dots VALUES ('\.'), ('\'), ('.'), (E'\\.\n\n\n'), (''), (NULL), (E'\n');
CREATE TABLE wide (a text);
INSERT INTO wide SELECT repeat(md5(i::text), 10000) FROM generate_series(1, 3) i;

CREATE TABLE parent (id bigserial, at date NOT NULL, v text) PARTITION BY RANGE (at);
CREATE TABLE parent_2025 PARTITION OF parent FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE parent_2026 PARTITION OF parent FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE TABLE parent_rest PARTITION OF parent DEFAULT;
CREATE INDEX ON parent (v);
INSERT INTO parent (at, v) SELECT '2024-12-01'::date + i * 10, 'v' || i FROM generate_series(1, 60) i;
CREATE TABLE child () INHERITS (empty);
INSERT INTO child VALUES (1, 'of an heir');
CREATE TABLE ref (id integer PRIMARY KEY, up integer REFERENCES ref DEFERRABLE INITIALLY DEFERRED, gone text);
ALTER TABLE ref DROP COLUMN gone;
CREATE STATISTICS ref_stats ON id, up FROM ref;
CREATE UNLOGGED TABLE unlogged AS SELECT i FROM generate_series(1, 5) i;

CREATE VIEW v AS SELECT id, total FROM "Ventes d'été"."ligne ""x""
\. de vente" WHERE price > 1;
ALTER VIEW v OWNER TO :owner;
CREATE MATERIALIZED VIEW m AS SELECT count(*) AS n, sum(total) AS total FROM v;
CREATE MATERIALIZED VIEW m_not_filled AS SELECT 1 AS one WITH NO DATA;
CREATE RULE quiet AS ON DELETE TO empty DO INSTEAD NOTHING;

CREATE SEQUENCE moved START 100 INCREMENT -5 MAXVALUE 1000 CYCLE;
SELECT nextval('moved'), nextval('moved');
CREATE SEQUENCE untouched;

CREATE FUNCTION "it's a ""fn""
$body$"(x integer, OUT y integer) LANGUAGE plpgsql IMMUTABLE AS $fn$
BEGIN
    y := x + 1; -- $body$ 'quoted' "ident"
END $fn$;
CREATE PROCEDURE p() LANGUAGE sql BEGIN ATOMIC INSERT INTO empty VALUES (1, 'p'); END;
CREATE AGGREGATE longest(text) (SFUNC = textcat, STYPE = text);
CREATE OPERATOR === (LEFTARG = text, RIGHTARG = text, FUNCTION = texteq);
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER touch BEFORE INSERT ON ref FOR EACH ROW EXECUTE FUNCTION touch();
CREATE FUNCTION log_ddl() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER log_ddl ON ddl_command_end EXECUTE FUNCTION log_ddl();

ALTER TABLE ref ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON ref USING (id > 0) WITH CHECK (up IS NOT NULL);
CREATE COLLATION german FROM "C";
CREATE TEXT SEARCH CONFIGURATION plain (COPY = simple);
CREATE PUBLICATION pub FOR TABLE ref;
CREATE FOREIGN DATA WRAPPER fdw;
CREATE SERVER far FOREIGN DATA WRAPPER fdw OPTIONS (dbname 'x=''y''');

SELECT lo_from_bytea(4000000001, 'hello'), lo_from_bytea(70001, repeat('large ', 30000)::bytea), lo_create(70002);
SELECT lo_from_bytea(80000 + i, decode(md5(i::text), 'hex')) FROM generate_series(1, 50) i;
ALTER LARGE OBJECT 70001 OWNER TO :owner;
GRANT SELECT ON LARGE OBJECT 70002 TO PUBLIC;
COMMENT ON LARGE OBJECT 70001 IS 'owned';
GRANT SELECT ON empty TO :owner;
GRANT UPDATE (a) ON empty TO PUBLIC;
INSERT INTO ref VALUES (1, 2), (2, 1);
