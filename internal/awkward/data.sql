-- Values that a text format must escape, and values at the edges of their types.
CREATE TABLE texts (id int PRIMARY KEY, t text, c char(5), v varchar(10));
INSERT INTO texts VALUES
  (1, NULL, NULL, NULL), (2, '', '', ''), (3, '\N', '\N', '\.'), (4, '\.', ' ', E'\t'), (5, E'\\.\n\n\n', 'a', E'\r\n'), (6, E'a\tb\nc\rd\be\fg\vh\\', 'é', '\\'),
  (7, E'\x01\x02\x7f\x1b[31m', E'\n', '  x  '), (8, repeat('\', 9000), 'x', 'NULL'), (9, 'é vs ' || E'e\u0301' || ' ﷺ 🚲 ' || E'\U0010FFFF\uFEFF\u202E', '🚲', 'null'),
  (10, E'--\n-- PostgreSQL database dump complete\n--\n', '$$', '''";'), (11, E'\\connect evil\n\\! touch x\nCOPY texts FROM stdin;\n\\.\n', '%s', '$1'),
  (12, repeat('0123456789abcdef', 100000), '', '');
CREATE TABLE numbers (s smallint, i int, b bigint, n numeric, r real, d double precision, m money);
INSERT INTO numbers VALUES
  (-32768, -2147483648, -9223372036854775808, 1e-1000, '-infinity', '-0', -92233720368547758.08),
  (32767, 2147483647, 9223372036854775807, 10::numeric ^ 1000 + 1, 'NaN', 1.7976931348623157e308, 92233720368547758.07),
  (NULL, NULL, NULL, 'NaN', 1e-45, 5e-324, NULL), (0, 0, 0, 0.1000, 0.1, 0.1 + 0.2::float8, 0);
CREATE TABLE moments (d date, t time, z timetz, ts timestamp, tz timestamptz, i interval);
INSERT INTO moments VALUES
  ('infinity', '24:00', '23:59:59.999999-15:59', '-infinity', 'infinity', '-178000000 years'), ('4713-11-24 BC', '00:00', '00:00+14', '4714-11-24 00:00:00 BC', '294276-12-31 23:59:59.999999+00', '1 mon -1 day 00:00:00.000001'),
  ('2024-02-29', NULL, NULL, '2024-03-31 02:30', '2024-10-27 02:30:00+02', 'P1Y2M3DT4H5M6.7S');
CREATE TABLE others (
  b bytea, j json, jb jsonb, u uuid, bits bit varying, flag bool, ip inet, net cidr, mac macaddr8, p point, poly polygon, c circle, ts tsvector, tq tsquery, o oid, x "char", a text[][], r int4range, nr numrange, name name,
  lsn pg_lsn, path jsonpath, cls regclass, typ regtype);
INSERT INTO others VALUES
  (decode((SELECT string_agg(lpad(to_hex(i), 2, '0'), '') FROM generate_series(0, 255) i), 'hex'), E'{"a" : 1,\n"a":2, "\\u0001": "\\\\"}', '{"é": [null, 1e400, "\\\""], "": {}}', md5('x')::uuid,
   B'', true, '::1/128', '10.0.0.0/8', '08:00:2b:01:02:03:04:05', '(-0, Infinity)', '((0,0),(1,1),(1,0))', '<(1,2),3>', $$'it''s' 'a b':1A,2 '\\':3$$, $$'it''s' & !('b' | c:*)$$, 4294967295, 'x',
   '{{NULL,"NULL"},{"","a,b\"\\}"}}', '(,)', 'empty', 'select', 'FFFFFFFF/FFFFFFFF', '$."a b"[*] ? (@ > 1)', 'texts', 'int[]'),
  ('', 'null', 'null', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '', '', 0, '', '{}', '[1,2]', '(1.10,)', '', '0/0', '$', NULL, NULL);
