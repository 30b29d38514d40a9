-- Sizes around the 2 KB pages in which they are kept, an empty one, one above 1 MB, and a sparse one.
SELECT lo_from_bytea(oid::oid, substr(decode((SELECT string_agg(md5(oid || '/' || i), '') FROM generate_series(0, size / 16) i), 'hex'), 1, size))
FROM (VALUES (70001, 0), (70002, 1), (70003, 2047), (70004, 2048), (70005, 2049), (70006, 30000), (70007, 1500000)) AS v (oid, size);
SELECT lo_create(70008);
SELECT lo_put(70008, 100000, '\x00ff5c0a');
ALTER LARGE OBJECT 70002 OWNER TO awkward_owner;
GRANT SELECT ON LARGE OBJECT 70003 TO "awkward ""reader""";
COMMENT ON LARGE OBJECT 70004 IS E'a\nscan';
CREATE TABLE scan (id int PRIMARY KEY, content oid);
INSERT INTO scan SELECT oid::int - 70000, oid FROM pg_largeobject_metadata ORDER BY oid;
