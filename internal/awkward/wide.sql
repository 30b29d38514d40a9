-- As many columns as a table can have, none at all, and columns that are gone.
DO $$ BEGIN
  EXECUTE 'CREATE TABLE wide (' || (SELECT string_agg(format('c%s smallint', i), ', ') FROM generate_series(1, 1600) i) || ')';
  EXECUTE 'INSERT INTO wide VALUES (' || (SELECT string_agg(i::text, ', ') FROM generate_series(1, 1600) i) || ')';
END $$;
INSERT INTO wide (c1600) VALUES (-1);
INSERT INTO wide DEFAULT VALUES;
CREATE TABLE nothing ();
INSERT INTO nothing DEFAULT VALUES;
INSERT INTO nothing DEFAULT VALUES;
CREATE TABLE shrunk (a int, gone text, b text, gone2 int);
INSERT INTO shrunk VALUES (1, 'x', 'y', 2);
ALTER TABLE shrunk DROP gone, DROP gone2, ADD c int NOT NULL DEFAULT 5;
INSERT INTO shrunk VALUES (2, NULL, 6);
