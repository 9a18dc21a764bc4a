/* Test 1: update_time in uti equals the time of the order's newest scan in uts, to within mismatch_tolerance_seconds.
   A row is an active order for which it does not; an order without scans is not a pass. The scan may have aged out a
   moment before its status, which then leaves in the next cycle. Found is the status, expected the
   newest scan. `order-tracking reconcile` with --since a time before both lands what was missed. If the row stays, the
   source disagrees with itself. */
MODEL (
  name order_tracking.update_time_mismatch,
  kind EMBEDDED,
  tags (check, order_tracking),
  optimize_query FALSE
);

WITH compared AS (
  SELECT
    uti.order_id,
    MAX(uti.update_time) AS status_time,
    MAX(newest_scan.pathtime) AS scan_time,
    MAX(archived.pathtime) AS archived_time
  FROM active_status AS uti
  LEFT JOIN order_tracking.newest_scan AS newest_scan
    ON newest_scan.order_id = uti.order_id
  LEFT JOIN order_tracking_history.hist_uts_all AS archived
    ON archived.order_id = uti.order_id
    AND archived.pathtime BETWEEN uti.update_time - @mismatch_tolerance_seconds AND uti.update_time + @mismatch_tolerance_seconds
  WHERE
    uti.landed_at < @grace_cutoff()
    AND (
      newest_scan.order_id IS NULL OR newest_scan.landed_at < @grace_cutoff()
    )
  GROUP BY
    uti.order_id
)
SELECT
  'update_time_mismatch'::VARCHAR(64) AS check_name,
  'order_tracking.mart_uni_tracking_info'::VARCHAR(127) AS table_name,
  order_id::BIGINT AS order_id,
  @disagreement(
    CASE
      WHEN scan_time IS NULL
      THEN 'the mart holds no scan of this order'
      WHEN scan_time > status_time
      THEN 'the newest scan is newer than the status'
      ELSE 'the status is newer than the newest scan'
    END,
    status_time,
    scan_time
  ) AS detail
FROM compared
WHERE
  (
    scan_time IS NULL AND archived_time IS NULL
  )
  OR ABS(scan_time - status_time) > @mismatch_tolerance_seconds