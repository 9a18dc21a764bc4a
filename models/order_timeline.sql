/* All scans of every order, active or not: one row per scan, with where it lives.
   Answers: what is the whole history of order Y? Filter on order_id, or on pathtime.
   Where a number was given to a second order, number_use tells whose scan it is. */
MODEL (
  name order_tracking.order_timeline,
  kind VIEW,
  cron '@yearly',
  start '2000-01-01',
  tags (reading, order_tracking),
  grain (order_id, pathtime, code, traceseq),
  depends_on (
    order_tracking.mart_uni_tracking_spath
  )
);

WITH scans AS (
  SELECT
    order_id,
    pathtime,
    code,
    traceseq,
    'mart'::VARCHAR(16) AS lives_in
  FROM order_tracking.mart_uni_tracking_spath
  UNION ALL
  SELECT
    order_id,
    pathtime,
    code,
    traceseq,
    period::VARCHAR(16)
  FROM order_tracking_history.hist_uts_all
), reused AS (
  /* Few: the numbers that were ever found to be used again. */
  SELECT DISTINCT
    order_id
  FROM order_tracking_history.order_tracking_exceptions
  WHERE
    check_name = 'order_number_reused'
), ended AS (
  /* When each archived order of such a number ended, and when the next one did. */
  SELECT
    archived.order_id,
    @order_end(archived.update_time) AS moment,
    LEAD(@order_end(archived.update_time)) OVER (PARTITION BY archived.order_id ORDER BY archived.update_time) AS next_moment,
    ROW_NUMBER() OVER (PARTITION BY archived.order_id ORDER BY archived.update_time) AS orders_before
  FROM reused
  JOIN order_tracking_history.hist_uti_all AS archived
    ON archived.order_id = reused.order_id
)
SELECT
  @typed_columns(uts, scans, order_id, pathtime),
  'epoch'::TIMESTAMP + scans.pathtime * INTERVAL '1 SECOND' AS scanned_at, /* pathtime as a timestamp, UTC */
  @typed_columns(uts, scans, code, traceseq),
  scans.lives_in::VARCHAR(16) AS lives_in, /* mart, or the half-year of history that holds it */
  (
    COALESCE(ended.orders_before, 0) + 1
  )::INTEGER AS number_use /* 1; 2 and more for a scan of an order whose number earlier orders had */
FROM scans
LEFT JOIN ended
  ON ended.order_id = scans.order_id
  AND scans.pathtime > ended.moment
  AND (
    ended.next_moment IS NULL OR scans.pathtime <= ended.next_moment
  )