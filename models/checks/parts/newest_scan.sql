/* The newest scan of each suspect in the mart, and when the last of its scans landed. */
MODEL (
  name order_tracking.newest_scan,
  kind EMBEDDED,
  tags (check, order_tracking),
  optimize_query FALSE,
  depends_on (
    order_tracking.mart_uni_tracking_spath
  )
);

SELECT
  suspects.order_id::BIGINT AS order_id,
  MAX(uts.pathtime)::BIGINT AS pathtime,
  MAX(uts.landed_at)::TIMESTAMP AS landed_at
FROM suspects
JOIN order_tracking.mart_uni_tracking_spath AS uts
  ON uts.order_id = suspects.order_id
GROUP BY
  suspects.order_id