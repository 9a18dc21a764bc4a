/* When a suspect's number was first and last given to an order: by its metadata in mart and history. */
MODEL (
  name order_tracking.order_creation,
  kind EMBEDDED,
  tags (check, order_tracking),
  optimize_query FALSE
);

SELECT
  metadata.order_id::BIGINT AS order_id,
  MIN(metadata.add_time)::BIGINT AS first_created,
  MAX(metadata.add_time)::BIGINT AS last_created
FROM (
  SELECT
    order_id,
    add_time
  FROM active_metadata
  UNION ALL
  SELECT
    order_id,
    add_time
  FROM archived_metadata
) AS metadata
GROUP BY
  metadata.order_id