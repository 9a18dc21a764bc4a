/* The scans of the last `retention_months`: one row per scan (uts); a scan is never changed.
   Answers: which orders were scanned lately, where and how often?
   Rows are selected by arrival, so that a scan that arrives late is an ordinary new row, and leave by event time for
   order_tracking_history.hist_uts_*, whatever their order does. */
MODEL (
  name order_tracking.mart_uni_tracking_spath,
  kind INCREMENTAL_BY_TIME_RANGE (
    time_column landed_at,
    lookback 1,
    forward_only TRUE,
    disable_restatement TRUE
  ),
  cron '*/15 * * * *',
  tags (mart, order_tracking),
  grain (order_id, pathtime, code, traceseq),
  references order_id,
  depends_on (
    order_tracking.mart_uni_tracking_info
  ),
  physical_properties (diststyle = KEY, distkey = order_id, sortkey = (pathtime, order_id))
);

@guard_production();

WITH batch AS (
  SELECT
    @raw_columns(uts)
  FROM order_tracking_raw.uni_tracking_spath_raw
  WHERE
    landed_at BETWEEN @start_ts AND @end_ts
), ranked AS (
  /* A scan that landed twice within the batch counts once, with its first arrival. */
  SELECT
    @raw_columns(uts),
    ROW_NUMBER() OVER (
      PARTITION BY order_id, pathtime, code, traceseq
      ORDER BY landed_at, @raw_columns(uts)
    ) AS first_arrival
  FROM batch
)
SELECT
  @typed_columns(uts, ranked)
FROM ranked
WHERE
  ranked.first_arrival = 1;

@retention(archive, "check", trim, forget_raw)