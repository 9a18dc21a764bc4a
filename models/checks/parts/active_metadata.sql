/* The metadata of each suspect in the mart: its row in ecs. */
MODEL (
  name order_tracking.active_metadata,
  kind EMBEDDED,
  tags (check, order_tracking),
  optimize_query FALSE,
  depends_on (
    order_tracking.mart_ecs_order_info
  )
);

SELECT
  @typed_columns(ecs, ecs)
FROM order_tracking.suspects AS suspects
JOIN order_tracking.mart_ecs_order_info AS ecs
  ON ecs.order_id = suspects.order_id