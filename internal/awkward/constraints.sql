-- Constraints that the order of a restore can violate, or that the data violates already.
CREATE TABLE hen (id int PRIMARY KEY, egg int NOT NULL);
CREATE TABLE egg (id int PRIMARY KEY, hen int NOT NULL REFERENCES hen DEFERRABLE INITIALLY DEFERRED);
ALTER TABLE hen ADD FOREIGN KEY (egg) REFERENCES egg DEFERRABLE INITIALLY DEFERRED;
INSERT INTO hen VALUES (1, 2), (2, 1);
INSERT INTO egg VALUES (1, 1), (2, 2);
CREATE TABLE node (id int PRIMARY KEY, parent int REFERENCES node);
INSERT INTO node VALUES (1, NULL);
INSERT INTO node VALUES (3, 1), (2, 3), (4, 4);
CREATE TABLE orphan (id int);
INSERT INTO orphan VALUES (99);
ALTER TABLE orphan ADD FOREIGN KEY (id) REFERENCES node NOT VALID, ADD CONSTRAINT "it's > 100" CHECK (id > 100) NOT VALID;
CREATE TABLE booking (room int, during tsrange, note text, EXCLUDE USING gist (during WITH &&) WHERE (note <> 'cancelled') DEFERRABLE);
INSERT INTO booking VALUES (1, '[2024-01-01, 2024-01-02)', ''), (1, '[2024-01-02,)', NULL), (1, 'empty', '');
CREATE TABLE keys (a int, b int, c text, UNIQUE (a, b) INCLUDE (c), CONSTRAINT "Key" UNIQUE (c) DEFERRABLE INITIALLY DEFERRED);
INSERT INTO keys VALUES (1, NULL, 'x'), (1, NULL, 'y');
CREATE UNIQUE INDEX ON keys ((lower(c) || '''"\'), (a + b)) WHERE a > 0;
ALTER TABLE keys CLUSTER ON "Key", REPLICA IDENTITY FULL;
DO $$ BEGIN
  IF current_setting('server_version_num')::int >= 150000 THEN
    EXECUTE 'CREATE TABLE one_null (n int UNIQUE NULLS NOT DISTINCT); INSERT INTO one_null VALUES (NULL)';
    EXECUTE 'CREATE TABLE set_null (a int, b int, FOREIGN KEY (a, b) REFERENCES keys (a, b) ON DELETE SET NULL (b)) ';
  END IF;
END $$;
-- A check whose function reads another table, filled before it by name.
CREATE TABLE zoo (animal text);
INSERT INTO zoo VALUES ('yak');
CREATE FUNCTION known(text) RETURNS bool LANGUAGE sql STABLE AS 'SELECT true';
CREATE TABLE cage (animal text CHECK (known(animal)));
INSERT INTO cage VALUES ('yak');
