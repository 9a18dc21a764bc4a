/* Test 1: update_time in uti equals the time of the order's newest scan in uts.
   A row is an active order for which it does not; an order without scans is not a pass. `order-tracking reconcile`
   with --since a time before both lands what was missed. If the row stays, the source disagrees with itself. */
MODEL (
  name order_tracking.update_time_mismatch,
  kind EMBEDDED,
  owner data_engineering,
  tags (check, order_tracking),
  optimize_query FALSE
);

SELECT
  'update_time_mismatch'::VARCHAR(64) AS check_name,
  'order_tracking.mart_uni_tracking_info'::VARCHAR(127) AS table_name,
  uti.order_id::BIGINT AS order_id,
  CASE
    WHEN newest_scan.order_id IS NULL
    THEN 'the mart holds no scan of this order'
    WHEN newest_scan.pathtime > uti.update_time
    THEN 'the newest scan is newer than the status'
    ELSE 'the status is newer than the newest scan'
  END::VARCHAR(4096) AS detail
FROM order_tracking.active_status AS uti
LEFT JOIN order_tracking.newest_scan AS newest_scan
  ON newest_scan.order_id = uti.order_id
WHERE
  uti.landed_at < @grace_cutoff()
  AND (
    newest_scan.order_id IS NULL
    OR (
      newest_scan.pathtime <> uti.update_time
      AND newest_scan.landed_at < @grace_cutoff()
    )
  )