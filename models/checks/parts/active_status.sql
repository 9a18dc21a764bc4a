/* The status of each suspect that is active: its row in the mart uti. */
MODEL (
  name order_tracking.active_status,
  kind EMBEDDED,
  tags (check, order_tracking),
  optimize_query FALSE,
  depends_on (
    order_tracking.mart_uni_tracking_info
  )
);

SELECT
  @typed_columns(uti, uti)
FROM order_tracking.suspects AS suspects
JOIN order_tracking.mart_uni_tracking_info AS uti
  ON uti.order_id = suspects.order_id