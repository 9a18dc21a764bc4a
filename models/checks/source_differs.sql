/* The warehouse holds what the source shows.
   A row is what the last reconcile could not make equal, by table and reason: rows that the source no longer shows, shows
   more than once, or shows with other values. Nothing is deleted here; `order-tracking verify` says which hours, and
   `order-tracking refresh` brings in other values. It closes when a reconcile finds the hours equal. */
MODEL (
  name order_tracking.source_differs,
  kind EMBEDDED,
  tags (check, order_tracking),
  optimize_query FALSE
);

WITH counted AS (
  SELECT
    unequal.table_name,
    unequal.reason,
    SUM(unequal.row_count) AS row_count,
    MAX(unequal.examples) AS examples
  FROM order_tracking_raw.unequal_hours AS unequal
  WHERE
    NOT unequal.reason IN ('', 'rows that cannot be loaded')
  GROUP BY
    unequal.table_name,
    unequal.reason
), differing AS (
  SELECT
    'order_tracking_raw.' || counted.table_name || '_raw' AS table_name,
    counted.reason || ' (rows: ' || counted.row_count::VARCHAR(20) || '; orders: ' || counted.examples || ')' AS detail
  FROM counted
)
SELECT
  'source_differs'::VARCHAR(64) AS check_name,
  differing.table_name::VARCHAR(127) AS table_name,
  NULL::BIGINT AS order_id,
  differing.detail::VARCHAR(4096) AS detail
FROM differing