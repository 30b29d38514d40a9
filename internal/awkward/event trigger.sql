-- Were it restored before everything else, the rest would fail or be counted.
CREATE TABLE audit (tag text, n int);
CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
  IF tg_tag = 'CREATE TABLE' THEN RAISE EXCEPTION 'no tables any more'; END IF;
  INSERT INTO public.audit VALUES (tg_tag, 1);
END $$;
CREATE TABLE t (n int);
INSERT INTO t VALUES (1);
CREATE EVENT TRIGGER refuse ON ddl_command_end EXECUTE FUNCTION refuse();
CREATE EVENT TRIGGER "off" ON sql_drop WHEN TAG IN ('DROP TABLE', 'DROP VIEW') EXECUTE FUNCTION refuse();
ALTER EVENT TRIGGER "off" DISABLE;
