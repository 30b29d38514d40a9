-- A database that has one cannot be dropped before it, and must not subscribe when it is restored.
CREATE TABLE a (id int PRIMARY KEY);
INSERT INTO a VALUES (1);
CREATE SUBSCRIPTION elsewhere CONNECTION 'host=127.0.0.1 port=1 password=subscription-secret' PUBLICATION p WITH (connect = false, slot_name = NONE);
