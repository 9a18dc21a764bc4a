/* Test 2: every order in uti has scans, in the mart or in history.
   A row is an active order without any. `order-tracking reconcile` with --since a time before its status lands those
   that were missed. */
MODEL (
  name order_tracking.order_without_scans,
  kind EMBEDDED,
  tags (check, order_tracking),
  optimize_query FALSE
);

SELECT
  'order_without_scans'::VARCHAR(64) AS check_name,
  'order_tracking.mart_uni_tracking_spath'::VARCHAR(127) AS table_name,
  uti.order_id::BIGINT AS order_id,
  'neither the mart nor history holds a scan of this order'::VARCHAR(4096) AS detail
FROM active_status AS uti
LEFT JOIN order_tracking.newest_scan AS newest_scan
  ON newest_scan.order_id = uti.order_id
LEFT JOIN order_tracking_history.hist_uts_all AS archived
  ON archived.order_id = uti.order_id
WHERE
  uti.landed_at < @grace_cutoff()
  AND newest_scan.order_id IS NULL
  AND archived.order_id IS NULL