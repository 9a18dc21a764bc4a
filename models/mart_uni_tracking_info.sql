/* The current status of every active order: one row per order (uti, the anchor of the three marts).
   Answers: what is the status of an order now, and which orders are still active?
   A row older than the one held is ignored: a replay never takes a status back.
   An order leaves for order_tracking_history.hist_uti_* once it has been silent for `retention_months`; the two other
   marts follow it. Post-statements, in this order: clean history of orders that came back, archive, check, trim,
   and only then forget raw rows that are past the raw retention. */
MODEL (
  name order_tracking.mart_uni_tracking_info,
  kind INCREMENTAL_BY_UNIQUE_KEY (
    unique_key order_id,
    lookback 1,
    forward_only TRUE,
    disable_restatement TRUE,
    on_destructive_change ERROR
  ),
  cron '*/15 * * * *',
  owner data_engineering,
  tags (mart, order_tracking),
  optimize_query FALSE,
  grain order_id,
  physical_properties (diststyle = KEY, distkey = order_id, sortkey = (update_time, order_id)),
  columns (
    order_id BIGINT,
    tno VARCHAR(64),
    status INTEGER,
    update_time BIGINT,
    landed_at TIMESTAMP
  )
);

@refuse_to_endanger_production();

WITH batch AS (
  SELECT
    order_id,
    tno,
    status,
    update_time,
    landed_at
  FROM order_tracking_raw.uni_tracking_info_raw
  WHERE
    landed_at BETWEEN @start_ts AND @end_ts
), ranked AS (
  /* Ties are decided the same way every time: newest event, then newest arrival, then every other column. */
  SELECT
    order_id,
    tno,
    status,
    update_time,
    landed_at,
    ROW_NUMBER() OVER (
      PARTITION BY order_id
      ORDER BY update_time DESC, landed_at DESC, tno DESC, status DESC
    ) AS newest_first
  FROM batch
), held AS (
  /* Only a row that is not older than the oldest of the batch can be newer than one of the batch. */
  SELECT
    order_id,
    tno,
    status,
    update_time,
    landed_at
  FROM order_tracking.mart_uni_tracking_info
  WHERE
    update_time >= (
      SELECT
        MIN(update_time)
      FROM batch
    )
)
SELECT
  ranked.order_id::BIGINT AS order_id, /* The order */
  ranked.tno::VARCHAR(64) AS tno, /* Tracking number */
  ranked.status::INTEGER AS status, /* Current status */
  ranked.update_time::BIGINT AS update_time, /* When the status became so, epoch seconds UTC */
  ranked.landed_at::TIMESTAMP AS landed_at /* When the row arrived here */
FROM ranked
LEFT JOIN held
  ON held.order_id = ranked.order_id
WHERE
  ranked.newest_first = 1
  AND (
    held.order_id IS NULL
    OR NOT @is_older(ranked, held, update_time, landed_at, tno, status)
  );

@apply_retention()