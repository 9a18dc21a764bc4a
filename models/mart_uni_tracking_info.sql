/* The current status of every active order: one row per order (uti, the anchor of the three marts).
   Answers: what is the status of an order now, and which orders are still active?
   A row older than the one held is ignored: a replay never takes a status back.
   An order leaves for order_tracking_history.hist_uti_* once it has been silent for `retention_months`. ecs
   leaves with it; scans leave by their own age. Post-statements, in this order: clean history of orders that came back,
   archive, check, trim, and only then forget raw rows that are past the raw retention. */
MODEL (
  name order_tracking.mart_uni_tracking_info,
  kind INCREMENTAL_BY_UNIQUE_KEY (
    unique_key order_id,
    lookback 1,
    forward_only TRUE,
    disable_restatement TRUE
  ),
  cron '*/15 * * * *',
  tags (mart, order_tracking),
  grain order_id,
  physical_properties (diststyle = KEY, distkey = order_id, sortkey = (update_time, order_id))
);

@guard_production();

WITH batch AS (
  SELECT
    @raw_columns(uti)
  FROM order_tracking_raw.uni_tracking_info_raw
  WHERE
    landed_at BETWEEN @start_ts AND @end_ts
), versions AS (
  /* The batch, and what the mart holds of its orders. A row that is older than all of the batch cannot win. */
  SELECT
    @raw_columns(uti),
    0::INTEGER AS is_held
  FROM batch
  UNION ALL
  SELECT
    @raw_columns(uti, mart),
    1::INTEGER AS is_held
  FROM order_tracking.mart_uni_tracking_info AS mart
  JOIN (
    SELECT DISTINCT
      order_id
    FROM batch
  ) AS asked
    ON asked.order_id = mart.order_id
  WHERE
    mart.update_time >= @oldest_in_batch(uti)
), ranked AS (
  /* Of two same rows the batch's counts: where SQLMesh replaces the whole table (a lost state), what the mart holds
     already must be among the rows. */
  SELECT
    @raw_columns(uti),
    is_held,
    ROW_NUMBER() OVER (PARTITION BY order_id ORDER BY @newest_first(uti), is_held) AS recency_rank
  FROM versions
)
SELECT
  @typed_columns(uti, ranked)
FROM ranked
WHERE
  ranked.recency_rank = 1 AND ranked.is_held = 0;

@retention(clean, archive, "check", trim, forget_raw)