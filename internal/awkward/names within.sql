-- Names with everything in them.
CREATE SCHEMA "My Schema; --";
CREATE SCHEMA "été 数据";
CREATE TABLE "select" ("select" int, "from" text, "it's ""quoted""" text DEFAULT 'x', "a.b" int, " " text, "new
line" int, "back\slash" text, "100%s" text, "Ω" text, "$1" int, "--" int, "/*" int, "*/" int);
INSERT INTO "select" VALUES (1, E'a\tb', '"', 2, ' ', 3, '\', '%', 'ω', 4, 5, 6, 7);
CREATE TABLE "My Schema; --"."new
line" (n int PRIMARY KEY, "user" name DEFAULT CURRENT_USER);
CREATE TABLE "My Schema; --"."\. \N \connect" (n serial REFERENCES "My Schema; --"."new
line");
CREATE TABLE "été 数据"."'; DROP TABLE x; --" (n int GENERATED ALWAYS AS IDENTITY);
CREATE TABLE "été 数据"."%s %n ${HOME} $(touch x) `touch x`" (n int);
CREATE TABLE "public"."schema.table" (n int);
CREATE TABLE abcdefghijklmnopqrstuvwxyz_abcdefghijklmnopqrstuvwxyz_123456789 (n serial PRIMARY KEY);
CREATE TABLE "CamelCase" (n int);
CREATE TABLE camelcase (n int);
CREATE TABLE "CAMELCASE" (n int);
INSERT INTO "My Schema; --"."new
line" VALUES (1, 'x');
INSERT INTO "My Schema; --"."\. \N \connect" DEFAULT VALUES;
INSERT INTO "été 数据"."'; DROP TABLE x; --" DEFAULT VALUES;
INSERT INTO "CamelCase" VALUES (1);
INSERT INTO "CAMELCASE" VALUES (2);
CREATE FUNCTION "my ""function"""("in" int, text) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE VIEW "a view
COPY x FROM stdin;
\." AS SELECT "select" FROM "select";
CREATE TYPE "my type" AS ENUM ('a''b', E'c\\d');
CREATE INDEX "an ""index""" ON "select" ("it's ""quoted""");
COMMENT ON TABLE "select" IS E'a comment\n\\! touch x\nthat''s it';
COMMENT ON COLUMN "select"."it's ""quoted""" IS '"';
ALTER TABLE "CamelCase" ADD CONSTRAINT "a
constraint" CHECK (n > 0);
