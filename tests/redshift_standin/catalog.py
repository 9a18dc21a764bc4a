"""SQL that gives PostgreSQL the Redshift catalogs and functions which the project asks for.

Everything lives in the schema `standin`, at the end of the search path. A table's physical properties are
kept as a JSON comment on its row type: it survives RENAME, goes with DROP and ROLLBACK, and never conflicts.
"""

SETUP = r"""
CREATE SCHEMA standin;

CREATE TABLE standin.table_info_numbers (
  schema_name text, table_name text,
  ghosts bigint, unsorted float8, stats_off float8, vacuum_sort_benefit float8,
  PRIMARY KEY (schema_name, table_name)
);

CREATE FUNCTION standin.row_count(relation regclass) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE found bigint;
BEGIN EXECUTE 'SELECT count(*) FROM ' || relation INTO found; RETURN found; END $$;

CREATE FUNCTION standin.property(relation oid, name text) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT obj_description(c.reltype, 'pg_type')::json ->> name FROM pg_class c WHERE c.oid = relation $$;

CREATE VIEW standin.svv_columns AS
SELECT table_catalog::text, table_schema::text, table_name::text, column_name::text,
  ordinal_position::integer, column_default::text, is_nullable::text,
  CASE data_type WHEN 'text' THEN 'character varying' ELSE data_type END::text AS data_type,
  CASE data_type WHEN 'text' THEN 256
    WHEN 'character varying' THEN COALESCE(character_maximum_length, 256)
    ELSE character_maximum_length END::integer AS character_maximum_length,
  numeric_precision::integer, numeric_precision_radix::integer, numeric_scale::integer,
  datetime_precision::integer, NULL::text AS remarks
FROM information_schema.columns WHERE table_schema <> 'standin';

CREATE VIEW standin.svv_table_info AS
SELECT * FROM (
  SELECT current_database()::text AS "database", n.nspname::text AS "schema", c.oid AS table_id,
    c.relname::text AS "table", 'Y'::text AS encoded,
    CASE WHEN standin.property(c.oid, 'diststyle') IS NULL THEN 'AUTO(EVEN)'
      WHEN standin.property(c.oid, 'distkey') IS NULL THEN upper(standin.property(c.oid, 'diststyle'))
      ELSE 'KEY(' || standin.property(c.oid, 'distkey') || ')' END AS diststyle,
    COALESCE(standin.property(c.oid, 'sortkey')::json ->> 0, 'AUTO(SORTKEY)') AS sortkey1,
    (pg_relation_size(c.oid) / 1048576)::bigint AS size,
    (standin.row_count(c.oid) + COALESCE(i.ghosts, 0))::numeric(38, 0) AS tbl_rows,
    i.unsorted::numeric(5, 2) AS unsorted, COALESCE(i.stats_off, 0)::numeric(5, 2) AS stats_off,
    standin.row_count(c.oid)::numeric(38, 0) AS estimated_visible_rows,
    i.vacuum_sort_benefit::numeric(12, 2) AS vacuum_sort_benefit
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN standin.table_info_numbers i ON i.schema_name = n.nspname AND i.table_name = c.relname
  WHERE c.relkind = 'r' AND n.nspname NOT IN ('standin', 'pg_catalog', 'information_schema')
    AND n.nspname NOT LIKE 'pg\_%'
) info WHERE tbl_rows > 0;  -- like the original, it leaves out empty tables

CREATE VIEW standin.svv_transactions AS
SELECT a.usename::text AS txn_owner, a.datname::text AS txn_db, l.transactionid::text::bigint AS xid, l.pid,
  (a.xact_start AT TIME ZONE 'UTC')::timestamp AS txn_start, l.mode AS lock_mode,
  l.locktype AS lockable_object_type, l.relation, l.granted
FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid WHERE a.datname = current_database();

CREATE FUNCTION standin.getdate() RETURNS timestamp LANGUAGE sql STABLE AS $$
  SELECT date_trunc('second', statement_timestamp() AT TIME ZONE 'UTC') $$;
CREATE FUNCTION standin.nvl(anycompatible, anycompatible) RETURNS anycompatible LANGUAGE sql IMMUTABLE AS $$
  SELECT COALESCE($1, $2) $$;
CREATE FUNCTION standin.strtol(text, integer) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN $2 = 16 THEN ('x' || lpad($1, 16, '0'))::bit(64)::bigint END $$;
CREATE FUNCTION standin.crc32(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  bytes bytea := convert_to($1, 'UTF8');
  sum bigint := 4294967295;
BEGIN
  FOR i IN 0 .. length(bytes) - 1 LOOP
    sum := sum # get_byte(bytes, i);
    FOR bit IN 1 .. 8 LOOP
      sum := (sum >> 1) # (CASE WHEN sum & 1 = 1 THEN 3988292384 ELSE 0 END);
    END LOOP;
  END LOOP;
  RETURN lpad(to_hex(sum # 4294967295), 8, '0');
END $$;
CREATE FUNCTION standin.len(text) RETURNS integer LANGUAGE sql IMMUTABLE AS $$ SELECT length($1) $$;
CREATE FUNCTION standin.dateadd(part text, amount bigint, moment timestamp) RETURNS timestamp
LANGUAGE sql IMMUTABLE AS $$
  SELECT moment + amount
    * (CASE rtrim(part, 's') WHEN 'quarter' THEN '3 month' ELSE '1 ' || part END)::interval $$;
CREATE FUNCTION standin.datediff(part text, first timestamp, last timestamp) RETURNS bigint
LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE rtrim(part, 's')
    WHEN 'year' THEN extract(year FROM last) - extract(year FROM first)
    WHEN 'month' THEN (extract(year FROM last) - extract(year FROM first)) * 12
      + extract(month FROM last) - extract(month FROM first)
    ELSE trunc((extract(epoch FROM date_trunc(part, last)) - extract(epoch FROM date_trunc(part, first)))
      / extract(epoch FROM ('1 ' || part)::interval)) END::bigint $$;
CREATE FUNCTION standin.extracted(part text, moment timestamp) RETURNS integer LANGUAGE sql IMMUTABLE AS $$
  SELECT trunc(date_part(part, moment))::integer $$;
CREATE FUNCTION standin.extracted(part text, day date) RETURNS integer LANGUAGE sql IMMUTABLE AS $$
  SELECT trunc(date_part(part, day))::integer $$;
CREATE FUNCTION standin.extracted(part text, time_of_day time) RETURNS integer LANGUAGE sql IMMUTABLE AS $$
  SELECT trunc(date_part(part, time_of_day))::integer $$;
CREATE FUNCTION standin.extracted(part text, span interval) RETURNS integer LANGUAGE sql IMMUTABLE AS $$
  SELECT trunc(date_part(part, span))::integer $$;
CREATE FUNCTION standin.extracted(part text, moment timestamptz) RETURNS float8 LANGUAGE sql STABLE AS $$
  SELECT date_part(part, moment) $$;
CREATE FUNCTION standin.pg_last_copy_count() RETURNS bigint LANGUAGE sql AS $$
  SELECT COALESCE(NULLIF(current_setting('standin.copied', true), ''), '0')::bigint $$;
CREATE FUNCTION standin.pg_last_unload_count() RETURNS bigint LANGUAGE sql AS $$
  SELECT COALESCE(NULLIF(current_setting('standin.unloaded', true), ''), '0')::bigint $$;
"""
