-- An enum hashes by its OIDs, which a restore does not keep: rows end in other partitions than they came from, and rightly so.
CREATE TYPE colour AS ENUM ('red', 'blue');
CREATE TABLE by_colour (c colour, n int) PARTITION BY HASH (c);
CREATE TABLE by_colour_0 PARTITION OF by_colour FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE by_colour_1 PARTITION OF by_colour FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO by_colour SELECT (ARRAY['red', 'blue']::colour[])[1 + i % 2], i FROM generate_series(1, 20) i;
