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
    disable_restatement TRUE
  ),
  cron '*/15 * * * *',
  tags (mart, order_tracking),
  grain order_id,
  references order_id,
  depends_on (
    order_tracking.mart_uni_tracking_info
  ),
  physical_properties (diststyle = KEY, distkey = order_id, sortkey = (partner_id, add_time, order_id))
);

@guard_production();

WITH batch AS (
  SELECT
    @raw_columns(ecs)
  FROM order_tracking_raw.ecs_order_info_raw
  WHERE
    landed_at BETWEEN @start_ts AND @end_ts
), versions AS (
  /* The batch, and what the mart holds of its orders. A row that is older than all of the batch cannot win. */
  SELECT
    @raw_columns(ecs),
    0::INTEGER AS is_held
  FROM batch
  UNION ALL
  SELECT
    @raw_columns(ecs, mart),
    1::INTEGER AS is_held
  FROM order_tracking.mart_ecs_order_info AS mart
  JOIN (
    SELECT DISTINCT
      order_id
    FROM batch
  ) AS asked
    ON asked.order_id = mart.order_id
  WHERE
    mart.add_time >= @oldest_in_batch(ecs)
), ranked AS (
  /* Of two same rows the batch's counts: where SQLMesh replaces the whole table (a lost state), what the mart holds
     already must be among the rows. */
  SELECT
    @raw_columns(ecs),
    is_held,
    ROW_NUMBER() OVER (PARTITION BY order_id ORDER BY @newest_first(ecs), is_held) AS recency_rank
  FROM versions
)
SELECT
  @typed_columns(ecs, ranked)
FROM ranked
WHERE
  ranked.recency_rank = 1 AND ranked.is_held = 0;

@retention(clean, archive, "check", trim, forget_raw)