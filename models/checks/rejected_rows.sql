/* Every row of the source can be loaded.
   A row is a table and a reason why rows of it could not, with their number: no usable key or time, or a value that its
   column cannot hold. The rows stand as text in order_tracking_raw.rejected_rows. Mend them at the source: a row counts no
   more once a good one of its key has landed after it. A row without an order number has no key; accept the exception. */
MODEL (
  name order_tracking.rejected_rows,
  kind EMBEDDED,
  tags (check, order_tracking),
  optimize_query FALSE,
  depends_on (
    order_tracking.mart_ecs_order_info,
    order_tracking.mart_uni_tracking_info,
    order_tracking.mart_uni_tracking_spath
  )
);

WITH rejected AS (
  SELECT
    table_name,
    order_id,
    reason,
    SPLIT_PART(reason, ': ', 1) AS topic,
    payload,
    rejected_at
  FROM order_tracking_raw.rejected_rows
), mended AS (
  SELECT DISTINCT
    rejected.table_name,
    rejected.payload
  FROM rejected
  JOIN (
    @held_keys()
  ) AS good
    ON good.order_id = rejected.order_id AND good.table_name = rejected.table_name
  WHERE
    good.landed_at > rejected.rejected_at
    AND (
      rejected.table_name <> 'uni_tracking_spath' OR @is_same_scan(rejected, good)
    )
), still_rejected AS (
  SELECT
    rejected.table_name,
    rejected.topic,
    rejected.payload,
    ROW_NUMBER() OVER (
      PARTITION BY rejected.table_name, rejected.topic
      ORDER BY rejected.order_id, rejected.payload
    ) AS place
  FROM rejected
  LEFT JOIN mended
    ON mended.table_name = rejected.table_name AND mended.payload = rejected.payload
  WHERE
    mended.payload IS NULL
)
SELECT
  'rejected_rows'::VARCHAR(64) AS check_name,
  (
    'order_tracking_raw.' || table_name || '_raw'
  )::VARCHAR(127) AS table_name,
  NULL::BIGINT AS order_id,
  (
    topic || ' (rows: ' || COUNT(*)::VARCHAR(20) || '; for example: ' || MAX(CASE WHEN place = 1 THEN LEFT(payload, 300) END) || COALESCE(' | ' || MAX(CASE WHEN place = 2 THEN LEFT(payload, 300) END), '') || ')'
  )::VARCHAR(4096) AS detail
FROM still_rejected
GROUP BY
  table_name,
  topic