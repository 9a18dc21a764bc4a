/* Everything that landed is in its mart or in history; of statuses and metadata a newer version will do.
   A row is an order of which something is in neither. Look in the log for a failed cycle and run the cycle again; if it
   stays, stop the cycles before raw forgets the row (35 days after it landed).
   Landings whose scans count the same in raw as in mart and history are not looked up row by row. */
MODEL (
  name order_tracking.landed_but_missing,
  kind EMBEDDED,
  tags (check, order_tracking),
  optimize_query FALSE,
  depends_on (
    order_tracking.mart_uni_tracking_spath,
    order_tracking_raw.uni_tracking_info_raw,
    order_tracking_raw.ecs_order_info_raw
  )
);

WITH scans_by_landing AS (
  SELECT
    landed_at,
    order_id,
    pathtime,
    code,
    traceseq,
    1 AS scans
  FROM order_tracking_raw.uni_tracking_spath_raw
  WHERE
    landed_at < @grace_cutoff()
  UNION ALL
  SELECT
    landed_at,
    -order_id,
    -pathtime,
    -code::BIGINT,
    -traceseq::BIGINT,
    -1
  FROM order_tracking.mart_uni_tracking_spath
  WHERE
    landed_at < @grace_cutoff() AND landed_at >= @raw_begins()
  UNION ALL
  SELECT
    landed_at,
    -order_id,
    -pathtime,
    -code::BIGINT,
    -traceseq::BIGINT,
    -1
  FROM order_tracking_history.hist_uts_all
  WHERE
    landed_at < @grace_cutoff() AND landed_at >= @raw_begins()
), unequal_landings AS (
  SELECT
    landed_at
  FROM scans_by_landing
  GROUP BY
    landed_at
  HAVING
    SUM(scans) <> 0
    OR SUM(order_id) <> 0
    OR SUM(pathtime) <> 0
    OR SUM(code) <> 0
    OR SUM(traceseq) <> 0
), missing AS (
  SELECT DISTINCT
    'order_tracking.mart_uni_tracking_info'::VARCHAR(127) AS table_name,
    landed.order_id,
    'a status landed, but neither mart nor history holds it or a newer one'::VARCHAR(4096) AS detail
  FROM suspects
  JOIN order_tracking_raw.uni_tracking_info_raw AS landed
    ON landed.order_id = suspects.order_id
  LEFT JOIN active_status AS mart
    ON mart.order_id = landed.order_id
  LEFT JOIN archived_status AS archived
    ON archived.order_id = landed.order_id
  WHERE
    (
      mart.order_id IS NULL OR @is_older(mart, landed, uti)
    )
    AND landed.landed_at < @grace_cutoff()
  GROUP BY
    @raw_columns(uti, landed)
  HAVING
    MAX(
      CASE
        WHEN archived.order_id IS NULL OR @is_older(archived, landed, uti)
        THEN 0
        ELSE 1
      END
    ) = 0
  UNION ALL
  SELECT DISTINCT
    'order_tracking.mart_ecs_order_info'::VARCHAR(127) AS table_name,
    landed.order_id,
    'metadata landed, but neither mart nor history holds it or a newer one'::VARCHAR(4096) AS detail
  FROM suspects
  JOIN order_tracking_raw.ecs_order_info_raw AS landed
    ON landed.order_id = suspects.order_id
  LEFT JOIN active_metadata AS mart
    ON mart.order_id = landed.order_id
  LEFT JOIN archived_metadata AS archived
    ON archived.order_id = landed.order_id
  WHERE
    (
      mart.order_id IS NULL OR @is_older(mart, landed, ecs)
    )
    AND landed.landed_at < @grace_cutoff()
  GROUP BY
    @raw_columns(ecs, landed)
  HAVING
    MAX(
      CASE
        WHEN archived.order_id IS NULL OR @is_older(archived, landed, ecs)
        THEN 0
        ELSE 1
      END
    ) = 0
  UNION ALL
  SELECT DISTINCT
    'order_tracking.mart_uni_tracking_spath'::VARCHAR(127),
    landed.order_id,
    'a scan landed, but neither mart nor history holds it'::VARCHAR(4096)
  FROM unequal_landings
  JOIN order_tracking_raw.uni_tracking_spath_raw AS landed
    ON landed.landed_at = unequal_landings.landed_at
  LEFT JOIN order_tracking.mart_uni_tracking_spath AS mart
    ON mart.order_id = landed.order_id AND @is_identical(mart, landed, uts)
  LEFT JOIN order_tracking_history.hist_uts_all AS archived
    ON archived.order_id = landed.order_id AND @is_identical(archived, landed, uts)
  WHERE
    mart.order_id IS NULL AND archived.order_id IS NULL
)
SELECT
  'landed_but_missing'::VARCHAR(64) AS check_name,
  table_name::VARCHAR(127) AS table_name,
  order_id::BIGINT AS order_id,
  detail::VARCHAR(4096) AS detail
FROM missing