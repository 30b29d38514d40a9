CREATE FUNCTION quoted(text DEFAULT 'it''s', VARIADIC "others" int[] DEFAULT '{}') RETURNS text LANGUAGE plpgsql COST 7 PARALLEL SAFE AS $_$
BEGIN
  RETURN $$a$$ || $1 || E'\\' || $q$'$q$; -- \connect evil
END $_$;
CREATE FUNCTION later() RETURNS SETOF text LANGUAGE sql AS 'SELECT quoted()';
CREATE FUNCTION in_and_out(OUT a int, INOUT b text, c int DEFAULT 5) LANGUAGE sql AS 'SELECT 1, b';
CREATE PROCEDURE work(inout n int) LANGUAGE plpgsql AS 'BEGIN n := n + 1; END';
CREATE AGGREGATE product(numeric) (SFUNC = numeric_mul, STYPE = numeric, INITCOND = '1');
CREATE FUNCTION same(text, text) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT lower($1) = lower($2)';
CREATE OPERATOR === (FUNCTION = same, LEFTARG = text, RIGHTARG = text, COMMUTATOR = ===, RESTRICT = eqsel);
CREATE TYPE rgb AS (r int, g int, b int);
CREATE FUNCTION rgb(int) RETURNS rgb LANGUAGE sql IMMUTABLE AS 'SELECT ROW($1 >> 16, ($1 >> 8) & 255, $1 & 255)::rgb';
CREATE CAST (int AS rgb) WITH FUNCTION rgb(int) AS ASSIGNMENT;
CREATE OPERATOR FAMILY reversed USING btree;
CREATE FUNCTION backwards(int, int) RETURNS int LANGUAGE sql IMMUTABLE STRICT AS 'SELECT btint4cmp($2, $1)';
CREATE OPERATOR CLASS reversed_ops FOR TYPE int USING btree FAMILY reversed AS
  OPERATOR 1 > (int, int), OPERATOR 2 >= (int, int), OPERATOR 3 =, OPERATOR 4 <= (int, int), OPERATOR 5 < (int, int), FUNCTION 1 backwards(int, int);
CREATE TABLE t (n int, colour rgb, note text, changed int DEFAULT 0);
CREATE INDEX ON t (n reversed_ops);
-- A trigger that changes rows must not fire while they are restored.
CREATE FUNCTION count_changes() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.changed := NEW.changed + 1; RETURN NEW; END $$;
CREATE TRIGGER "on" BEFORE INSERT OR UPDATE OF n ON t FOR EACH ROW WHEN (NEW.n > 0) EXECUTE FUNCTION count_changes('it''s', '\x');
CREATE TRIGGER always BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION count_changes();
CREATE TRIGGER "off" BEFORE DELETE ON t FOR EACH ROW EXECUTE FUNCTION count_changes();
ALTER TABLE t ENABLE ALWAYS TRIGGER always, DISABLE TRIGGER "off";
CREATE CONSTRAINT TRIGGER checked AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION count_changes();
CREATE TABLE log (n int);
CREATE RULE logged AS ON UPDATE TO t DO ALSO INSERT INTO log VALUES (NEW.n);
CREATE VIEW v AS SELECT n, note FROM t WHERE n > 0 WITH LOCAL CHECK OPTION;
CREATE RULE into_v AS ON INSERT TO v DO INSTEAD INSERT INTO t (n) VALUES (NEW.n) RETURNING n, note;
INSERT INTO t VALUES (1, 255, 'x'), (0, NULL, NULL), (5, 16711680, '');
UPDATE t SET n = n + 1;
DO $$ BEGIN
  IF current_setting('server_version_num')::int >= 140000 THEN
    EXECUTE 'CREATE FUNCTION atomic(a int) RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM public.t WHERE n > a; END';
  END IF;
END $$;
CREATE TEXT SEARCH CONFIGURATION shop (COPY = french);
CREATE TEXT SEARCH DICTIONARY simple_fr (TEMPLATE = simple, STOPWORDS = french);
ALTER TEXT SEARCH CONFIGURATION shop ALTER MAPPING FOR word WITH simple_fr, french_stem;
COMMENT ON FUNCTION quoted(text, int[]) IS E'it''s\n-- \\! touch x\n\\.';
