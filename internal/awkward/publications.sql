CREATE TABLE a (id int PRIMARY KEY, secret text);
CREATE TABLE b (id int PRIMARY KEY);
INSERT INTO a VALUES (1, 'x');
CREATE PUBLICATION everything FOR ALL TABLES WITH (publish = 'insert');
CREATE PUBLICATION "some of it" FOR TABLE a, ONLY b;
CREATE PUBLICATION none;
DO $$ BEGIN
  IF current_setting('server_version_num')::int >= 150000 THEN
    EXECUTE 'CREATE PUBLICATION part FOR TABLE a (id) WHERE (id > 5) WITH (publish_via_partition_root)';
    EXECUTE 'CREATE PUBLICATION "whole schema" FOR TABLES IN SCHEMA public';
  END IF;
END $$;
