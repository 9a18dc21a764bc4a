/* The metadata of every active order: one row per order (ecs), written once when the order is created.
   Answers: which orders does a partner have, and since when?
   A row leaves for order_tracking_history.hist_ecs_* when, and only when, mart_uni_tracking_info has archived its
   order; it goes to the period that holds the order's status. */
MODEL (
  name order_tracking.mart_ecs_order_info,
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
  references order_id,
  depends_on (
    order_tracking.mart_uni_tracking_info
  ),
  physical_properties (diststyle = KEY, distkey = order_id, sortkey = (partner_id, add_time, order_id)),
  columns (
    order_id BIGINT,
    partner_id INTEGER,
    add_time BIGINT,
    landed_at TIMESTAMP
  )
);

@refuse_to_endanger_production();

WITH batch AS (
  SELECT
    order_id,
    partner_id,
    add_time,
    landed_at
  FROM order_tracking_raw.ecs_order_info_raw
  WHERE
    landed_at BETWEEN @start_ts AND @end_ts
), ranked AS (
  /* Ties are decided the same way every time: newest event, then newest arrival, then every other column. */
  SELECT
    order_id,
    partner_id,
    add_time,
    landed_at,
    ROW_NUMBER() OVER (PARTITION BY order_id ORDER BY add_time DESC, landed_at DESC, partner_id DESC) AS newest_first
  FROM batch
), held AS (
  /* Only a row that is not older than the oldest of the batch can be newer than one of the batch. */
  SELECT
    order_id,
    partner_id,
    add_time,
    landed_at
  FROM order_tracking.mart_ecs_order_info
  WHERE
    add_time >= (
      SELECT
        MIN(add_time)
      FROM batch
    )
)
SELECT
  ranked.order_id::BIGINT AS order_id, /* The order */
  ranked.partner_id::INTEGER AS partner_id, /* The partner it belongs to */
  ranked.add_time::BIGINT AS add_time, /* When it was created, epoch seconds UTC */
  ranked.landed_at::TIMESTAMP AS landed_at /* When the row arrived here */
FROM ranked
LEFT JOIN held
  ON held.order_id = ranked.order_id
WHERE
  ranked.newest_first = 1
  AND (
    held.order_id IS NULL
    OR NOT @is_older(ranked, held, add_time, landed_at, partner_id)
  );

@apply_retention()