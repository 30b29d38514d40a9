CREATE SCHEMA shop;
CREATE TABLE shop."item ""x"" é
y" (id integer GENERATED ALWAYS AS IDENTITY, name text NOT NULL, price numeric(10,2), data bytea, note text);
INSERT INTO shop."item ""x"" é
y" (name, price, data, note) SELECT 'n' || i, i / 100.0, decode(md5(i::text), 'hex'), CASE i % 3 WHEN 0 THEN NULL WHEN 1 THEN E'\\.' ELSE E'a\tb\nc' END FROM generate_series(1, 40) i;
CREATE TABLE empty (a int, b text);
CREATE TABLE nocols ();
INSERT INTO nocols DEFAULT VALUES; INSERT INTO nocols DEFAULT VALUES;
CREATE VIEW v AS SELECT id, name FROM shop."item ""x"" é
y" WHERE price > 0.1;
CREATE SEQUENCE s START 7; SELECT nextval('s');
CREATE FUNCTION f(x int) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT $1 + 1 $$;
SELECT lo_from_bytea(4000000001, 'hello'); SELECT lo_from_bytea(16000, repeat('x', 5000)::bytea); SELECT lo_create(16001);
COMMENT ON LARGE OBJECT 16000 IS 'xs';
GRANT SELECT ON LARGE OBJECT 16001 TO PUBLIC;
