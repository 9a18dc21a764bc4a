/* Every row that has aged out has a history table to go to.
   A row is what a mart could not archive: it stays in the mart. The marts find it themselves, in every cycle for as long
   as it lasts. Its period is before the variable history_start: set that back. To resolve the exception closes
   it only until the next cycle. */
MODEL (
  name order_tracking.archive_unrouted,
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
  check_name = 'archive_unrouted'
  AND resolved_at IS NULL
  AND last_seen_at > @end_ts::TIMESTAMP