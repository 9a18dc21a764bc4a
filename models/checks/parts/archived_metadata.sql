/* Each row of a suspect's metadata that history holds. */
MODEL (
  name order_tracking.archived_metadata,
  kind EMBEDDED,
  tags (check, order_tracking),
  optimize_query FALSE,
  depends_on (
    order_tracking.mart_ecs_order_info
  )
);

SELECT
  @typed_columns(ecs, history)
FROM order_tracking.suspects AS suspects
JOIN order_tracking_history.hist_ecs_all AS history
  ON history.order_id = suspects.order_id