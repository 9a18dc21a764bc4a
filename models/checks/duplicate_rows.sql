/* One row for each order in uti and in ecs, one for each scan in uts.
   A row is an order with more. A cycle writes no row twice: find out who else writes these tables, and delete the
   surplus row.
   Of scans a day's check counts what landed in the days checked (and in the hour before, which their cycles took again),
   those of open exceptions, and, whoever may have written them, a 28th in turn: four weeks see the whole mart. */
MODEL (
  name order_tracking.duplicate_rows,
  kind EMBEDDED,
  tags (check, order_tracking),
  optimize_query FALSE,
  depends_on (
    order_tracking.mart_uni_tracking_spath
  )
);

WITH doubled_before AS (
  SELECT
    order_id
  FROM order_tracking_history.order_tracking_exceptions
  WHERE
    check_name = 'duplicate_rows'
    AND table_name = 'order_tracking.mart_uni_tracking_spath'
    AND resolved_at IS NULL
), recent_scans AS (
  SELECT
    order_id,
    pathtime,
    code,
    traceseq
  FROM order_tracking.mart_uni_tracking_spath
  WHERE
    landed_at >= @start_ts::TIMESTAMP - INTERVAL '1 HOUR' OR landed_at IS NULL
  UNION
  SELECT
    scans.order_id,
    scans.pathtime,
    scans.code,
    scans.traceseq
  FROM doubled_before
  JOIN order_tracking.mart_uni_tracking_spath AS scans
    ON scans.order_id = doubled_before.order_id
), doubled AS (
  SELECT
    'order_tracking.mart_uni_tracking_info'::VARCHAR(127) AS table_name,
    order_id,
    'more than one row'::VARCHAR(64) AS topic,
    COUNT(*) AS row_count
  FROM active_status
  GROUP BY
    order_id
  HAVING
    COUNT(*) > 1
  UNION ALL
  SELECT
    'order_tracking.mart_ecs_order_info'::VARCHAR(127),
    order_id,
    'more than one row'::VARCHAR(64),
    COUNT(*)
  FROM active_metadata
  GROUP BY
    order_id
  HAVING
    COUNT(*) > 1
  UNION ALL
  SELECT
    'order_tracking.mart_uni_tracking_spath'::VARCHAR(127),
    recent.order_id,
    'more than one row of a scan'::VARCHAR(64),
    COUNT(*)
  FROM recent_scans AS recent
  JOIN order_tracking.mart_uni_tracking_spath AS held
    ON held.order_id = recent.order_id AND @is_identical(held, recent, uts)
  GROUP BY
    recent.order_id,
    recent.pathtime,
    recent.code,
    recent.traceseq
  HAVING
    COUNT(*) > 1
  UNION ALL
  SELECT
    'order_tracking.mart_uni_tracking_spath'::VARCHAR(127),
    order_id,
    'more than one row of a scan'::VARCHAR(64),
    COUNT(*)
  FROM order_tracking.mart_uni_tracking_spath
  WHERE
    @is_checked_today(pathtime)
  GROUP BY
    order_id,
    pathtime,
    code,
    traceseq
  HAVING
    COUNT(*) > 1
)
SELECT
  'duplicate_rows'::VARCHAR(64) AS check_name,
  table_name::VARCHAR(127) AS table_name,
  order_id::BIGINT AS order_id,
  (
    topic || ' (rows: ' || MAX(row_count)::VARCHAR(20) || '; expected: 1; difference: ' || (
      MAX(row_count) - 1
    )::VARCHAR(20) || ')'
  )::VARCHAR(4096) AS detail
FROM doubled
GROUP BY
  table_name,
  order_id,
  topic