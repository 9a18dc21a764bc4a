/* Test 3: every order in uti has its row in ecs.
   A row is an active order without one. If history holds it, the order came back: restore it with
   `order-tracking exceptions restore`. If nothing does, look for it at the source. */
MODEL (
  name order_tracking.order_without_ecs,
  kind EMBEDDED,
  tags (check, order_tracking),
  optimize_query FALSE
);

SELECT
  'order_without_ecs'::VARCHAR(64) AS check_name,
  'order_tracking.mart_ecs_order_info'::VARCHAR(127) AS table_name,
  uti.order_id::BIGINT AS order_id,
  CASE
    WHEN COUNT(archived.order_id) = 0
    THEN 'no row anywhere'
    WHEN NOT @is_created_later(MAX(archived.add_time), MAX(reused.last_status))
    THEN 'history holds only the row of an earlier order under this number'
    ELSE 'history holds its row, the order came back: restore it'
  END::VARCHAR(4096) AS detail
FROM active_status AS uti
LEFT JOIN active_metadata AS ecs
  ON ecs.order_id = uti.order_id
LEFT JOIN archived_metadata AS archived
  ON archived.order_id = uti.order_id
LEFT JOIN order_tracking.reused_number AS reused
  ON reused.order_id = uti.order_id
WHERE
  uti.landed_at < @grace_cutoff() AND ecs.order_id IS NULL
GROUP BY
  uti.order_id