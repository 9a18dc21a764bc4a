/* Every row of the source can be loaded.
   A row is a source row that could not: it has no usable key or time, or a value that its column cannot hold.
   Mend it at the source, then settle the exception with `order-tracking exceptions resolve`; it stays open until then.
   The row stands as text in order_tracking_raw.rejected_rows. */
MODEL (
  name order_tracking.rejected_rows,
  kind EMBEDDED,
  owner data_engineering,
  tags (check, order_tracking),
  optimize_query FALSE
);

WITH rejected AS (
  SELECT
    'order_tracking_raw.' || source_row.table_name || '_raw' AS table_name,
    source_row.order_id,
    @rejection_detail(source_row) AS detail
  FROM order_tracking_raw.rejected_rows AS source_row
)
SELECT
  'rejected_rows'::VARCHAR(64) AS check_name,
  rejected.table_name::VARCHAR(127) AS table_name,
  rejected.order_id::BIGINT AS order_id,
  rejected.detail::VARCHAR(4096) AS detail
FROM rejected
LEFT JOIN order_tracking_history.order_tracking_exceptions AS settled
  ON settled.check_name = 'rejected_rows'
  AND settled.table_name = rejected.table_name
  AND settled.detail = rejected.detail
  AND settled.resolution <> 'cleared'
WHERE
  settled.check_name IS NULL