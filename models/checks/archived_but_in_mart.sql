/* Metadata leaves the mart with its order.
   A row is an order whose status is archived while its row is still in ecs. The next cycle archives it,
   and the next check closes this. Metadata of a later order under the number is no such row: it waits for its status. */
MODEL (
  name order_tracking.archived_but_in_mart,
  kind EMBEDDED,
  tags (check, order_tracking),
  optimize_query FALSE
);

SELECT DISTINCT
  'archived_but_in_mart'::VARCHAR(64) AS check_name,
  'order_tracking.mart_ecs_order_info'::VARCHAR(127) AS table_name,
  ecs.order_id::BIGINT AS order_id,
  'its order is archived, but its row is still in the mart'::VARCHAR(4096) AS detail
FROM active_metadata AS ecs
JOIN archived_status AS archived
  ON archived.order_id = ecs.order_id
LEFT JOIN active_status AS active
  ON active.order_id = ecs.order_id
LEFT JOIN order_tracking.order_creation AS created
  ON created.order_id = ecs.order_id
WHERE
  active.order_id IS NULL
  AND NOT (
    @is_created_later(ecs.add_time, archived.update_time)
    AND ecs.add_time > created.first_created
  )
  AND ecs.landed_at < @grace_cutoff()
  AND archived.archived_at < @grace_cutoff()