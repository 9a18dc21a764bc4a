/* The metadata of every order is followed by its status.
   A row is metadata in ecs that landed more than a day ago and whose order never got a status: it is in no view. Look in
   the source's uni_tracking_info. `order-tracking reconcile` with --since a time before its status lands one that was
   missed; if the source has none, tell its owner, and accept the exception. */
MODEL (
  name order_tracking.metadata_without_status,
  kind EMBEDDED,
  tags (check, order_tracking),
  optimize_query FALSE
);

SELECT
  'metadata_without_status'::VARCHAR(64) AS check_name,
  'order_tracking.mart_ecs_order_info'::VARCHAR(127) AS table_name,
  ecs.order_id::BIGINT AS order_id,
  @disagreement(
    'metadata landed more than a day ago, and its order never got a status',
    MAX(ecs.add_time),
    NULL::BIGINT
  ) AS detail
FROM active_metadata AS ecs
LEFT JOIN active_status AS active
  ON active.order_id = ecs.order_id
LEFT JOIN archived_status AS archived
  ON archived.order_id = ecs.order_id
LEFT JOIN order_tracking.order_creation AS created
  ON created.order_id = ecs.order_id
WHERE
  active.order_id IS NULL AND ecs.landed_at < @grace_cutoff() - INTERVAL '1 DAY'
GROUP BY
  ecs.order_id
HAVING
  COUNT(archived.order_id) = 0
  OR (
    @is_created_later(MAX(ecs.add_time), MAX(archived.update_time))
    AND MAX(ecs.add_time) > MIN(created.first_created)
  )