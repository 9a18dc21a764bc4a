/* All scans of every order, active or not: one row per scan, with where it lives.
   Answers: what is the whole history of order Y? Filter on order_id, or on pathtime. */
MODEL (
  name order_tracking.order_timeline,
  kind VIEW,
  owner data_engineering,
  tags (reading, order_tracking),
  grain (order_id, pathtime, code, traceseq),
  depends_on (
    order_tracking.mart_uni_tracking_spath
  )
);

SELECT
  order_id::BIGINT AS order_id, /* The order */
  pathtime::BIGINT AS pathtime, /* When it was scanned, epoch seconds UTC */
  'epoch'::TIMESTAMP + pathtime * INTERVAL '1 SECOND' AS scanned_at, /* The same as a timestamp, UTC */
  code::INTEGER AS code, /* What the scan says */
  traceseq::INTEGER AS traceseq, /* Running number within the order */
  'mart'::VARCHAR(16) AS lives_in /* mart, or the half-year of history that holds it */
FROM order_tracking.mart_uni_tracking_spath
UNION ALL
SELECT
  order_id::BIGINT,
  pathtime::BIGINT,
  'epoch'::TIMESTAMP + pathtime * INTERVAL '1 SECOND',
  code::INTEGER,
  traceseq::INTEGER,
  period::VARCHAR(16)
FROM order_tracking_history.hist_uts_all