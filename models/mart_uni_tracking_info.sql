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
    disable_restatement TRUE,
    on_destructive_change ERROR
  ),
  cron '*/15 * * * *',
  owner data_engineering,
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
), ranked AS (
  SELECT
    @raw_columns(uti),
    ROW_NUMBER() OVER (PARTITION BY order_id ORDER BY @newest_first(uti)) AS recency_rank
  FROM batch
), held AS (
  /* Only a row that is not older than the oldest of the batch can be newer than one of the batch. */
  SELECT
    @raw_columns(uti, mart)
  FROM order_tracking.mart_uni_tracking_info AS mart
  WHERE
    mart.update_time >= (
      SELECT
        MIN(batch.update_time)
      FROM batch
    )
)
SELECT
  @typed_columns(uti, ranked)
FROM ranked
LEFT JOIN held
  ON held.order_id = ranked.order_id
WHERE
  ranked.recency_rank = 1
  AND (
    held.order_id IS NULL OR NOT @is_older(ranked, held, uti)
  );

@retention(clean, archive, "check", trim, forget_raw)