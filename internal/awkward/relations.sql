-- Things that stand on each other.
CREATE TABLE base (a int PRIMARY KEY, b text) WITH (toast_tuple_target = 128);
INSERT INTO base SELECT i, md5(i::text) FROM generate_series(1, 500) i;
CREATE TABLE child (c int DEFAULT 7) INHERITS (base);
INSERT INTO child VALUES (1001, 'child');
CREATE TABLE other_parent (b text NOT NULL DEFAULT 'other', d date);
CREATE TABLE both_parents (e int CHECK (e > 0)) INHERITS (child, other_parent);
INSERT INTO both_parents VALUES (2001, 'both', 1, NULL, 3);
ALTER TABLE both_parents ALTER b SET DEFAULT 'own';
CREATE VIEW v1 AS SELECT a, left(b, 3) AS "left", base AS r FROM base;
CREATE VIEW "V 2" WITH (security_barrier) AS SELECT * FROM v1 JOIN LATERAL generate_series(1, 2) g (n) ON true WHERE "left" LIKE '%a\_%' OR a % 7 = 0;
CREATE RECURSIVE VIEW countdown (n) AS VALUES (10) UNION ALL SELECT n - 1 FROM countdown WHERE n > 0;
CREATE MATERIALIZED VIEW m1 AS SELECT a % 10 AS k, count(*) AS n FROM "V 2" GROUP BY 1 ORDER BY 1;
CREATE UNIQUE INDEX ON m1 (k);
-- Its name sorts before the one that it needs.
CREATE MATERIALIZED VIEW a_first AS SELECT sum(n) AS total FROM m1;
CREATE MATERIALIZED VIEW never_filled AS SELECT 1 / 0 AS boom WITH NO DATA;
CREATE VIEW on_matview AS SELECT * FROM a_first;
-- Two views that need each other.
CREATE VIEW left_hand AS SELECT 1 AS x, NULL::text AS y;
CREATE VIEW right_hand AS SELECT * FROM left_hand;
CREATE OR REPLACE VIEW left_hand AS SELECT 1 AS x, (SELECT max('z'::text)) AS y;
CREATE TABLE row_of (v v1, p base);
INSERT INTO row_of SELECT NULL, base FROM ONLY base WHERE a < 3;
CREATE UNLOGGED TABLE unlogged (n int);
INSERT INTO unlogged VALUES (1);
CREATE STATISTICS correlated (dependencies, ndistinct, mcv) ON a, b FROM base;
CREATE COLLATION "my C" FROM "C";
CREATE INDEX "Index by %" ON base USING hash (b);
CREATE INDEX ON base (b COLLATE "my C" DESC NULLS LAST, a) INCLUDE (a);
CREATE INDEX ON base USING brin (a) WITH (pages_per_range = 4);
CREATE CONVERSION my_conversion FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;
