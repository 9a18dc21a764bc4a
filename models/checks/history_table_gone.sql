/* Every history table has the rows that were archived in it.
   A row is a table that somebody had dropped, and that the next command made again, empty. It stays until somebody has
   restored the rows and resolves it. */
MODEL (
  name order_tracking.history_table_gone,
  kind EMBEDDED,
  tags (check, order_tracking),
  optimize_query FALSE
);

SELECT
  check_name::VARCHAR(64) AS check_name,
  table_name::VARCHAR(127) AS table_name,
  order_id::BIGINT AS order_id,
  detail::VARCHAR(4096) AS detail
FROM order_tracking_history.order_tracking_exceptions
WHERE
  check_name = 'history_table_gone' AND resolved_at IS NULL