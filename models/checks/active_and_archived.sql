/* No order is both active and archived, in uti or in ecs.
   A row is an order that is; found is the mart's time, expected history's. Nothing in this project leaves one so: find out
   who else writes these tables, and keep the newer version. */
MODEL (
  name order_tracking.active_and_archived,
  kind EMBEDDED,
  tags (check, order_tracking),
  optimize_query FALSE
);

WITH in_both AS (
  SELECT
    'order_tracking.mart_uni_tracking_info'::VARCHAR(127) AS table_name,
    active.order_id,
    active.update_time AS mart_time,
    archived.update_time AS history_time
  FROM active_status AS active
  JOIN archived_status AS archived
    ON archived.order_id = active.order_id
  LEFT JOIN order_tracking.order_creation AS created
    ON created.order_id = active.order_id
  WHERE
    NOT @is_another_order(archived, active, created)
  UNION ALL
  SELECT
    'order_tracking.mart_ecs_order_info'::VARCHAR(127),
    active.order_id,
    active.add_time,
    archived.add_time
  FROM active_metadata AS active
  JOIN archived_metadata AS archived
    ON archived.order_id = active.order_id AND archived.add_time = active.add_time
)
SELECT
  'active_and_archived'::VARCHAR(64) AS check_name,
  table_name::VARCHAR(127) AS table_name,
  order_id::BIGINT AS order_id,
  @disagreement('both in the mart and in history', MAX(mart_time), MAX(history_time)) AS detail
FROM in_both
GROUP BY
  table_name,
  order_id