/* Every order, active or not: one row per order of a number, with its status, its metadata and where each lives.
   Answers: what became of order Y, or of the order with tracking number Z? Filter on order_id; to find it by tno, look
   it up in the mart or in hist_uti_all first. Its scans stand in order_timeline, under the same order_id and number_use.
   Where a number was given to a second order, metadata belongs with the status that came next. */
MODEL (
  name order_tracking.order_lookup,
  kind VIEW,
  cron '@yearly',
  start '2000-01-01',
  tags (reading, order_tracking),
  grain (order_id, number_use),
  depends_on (order_tracking.mart_ecs_order_info, order_tracking.mart_uni_tracking_info)
);

WITH statuses AS (
  SELECT
    order_id,
    tno,
    status,
    update_time,
    'mart'::VARCHAR(16) AS lives_in
  FROM order_tracking.mart_uni_tracking_info
  UNION ALL
  SELECT
    order_id,
    tno,
    status,
    update_time,
    period::VARCHAR(16)
  FROM order_tracking_history.hist_uti_all
), metadata AS (
  SELECT
    order_id,
    partner_id,
    add_time,
    'mart'::VARCHAR(16) AS lives_in
  FROM order_tracking.mart_ecs_order_info
  UNION ALL
  SELECT
    order_id,
    partner_id,
    add_time,
    period::VARCHAR(16)
  FROM order_tracking_history.hist_ecs_all
), timed AS (
  SELECT
    order_id,
    @order_end(update_time) AS moment, /* What lies later is of the number's next order. */
    1::INTEGER AS is_status,
    tno,
    status,
    update_time,
    lives_in AS status_lives_in,
    @no_values(ecs, partner_id, add_time),
    NULL::VARCHAR(16) AS metadata_lives_in
  FROM statuses
  UNION ALL
  SELECT
    order_id,
    add_time,
    0::INTEGER,
    @no_values(uti, tno, status, update_time),
    NULL::VARCHAR(16),
    partner_id,
    add_time,
    lives_in
  FROM metadata
), numbered AS (
  /* A status is of the nth order. Metadata is of the order that ends next; or of the last one, unless that has its own:
     then it is of one that has no status yet. */
  SELECT
    order_id,
    LEAST(
      SUM(is_status) OVER (
        PARTITION BY order_id
        ORDER BY moment, is_status
        ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
      ) + 1 - is_status,
      GREATEST(
        SUM(is_status) OVER (PARTITION BY order_id),
        SUM(1 - is_status) OVER (PARTITION BY order_id)
      )
    ) AS number_use,
    moment,
    is_status,
    tno,
    status,
    update_time,
    status_lives_in,
    partner_id,
    add_time,
    metadata_lives_in
  FROM timed
), ranked AS (
  /* A creation that was corrected leaves two versions of an order's metadata in history. */
  SELECT
    order_id,
    number_use,
    tno,
    status,
    update_time,
    status_lives_in,
    partner_id,
    add_time,
    metadata_lives_in,
    ROW_NUMBER() OVER (
      PARTITION BY order_id, number_use, is_status
      ORDER BY moment DESC, metadata_lives_in DESC
    ) AS recency_rank
  FROM numbered
), orders AS (
  /* At most one row of each kind: MAX takes the one that is there. */
  SELECT
    order_id,
    number_use,
    MAX(tno) AS tno,
    MAX(status) AS status,
    MAX(update_time) AS update_time,
    MAX(status_lives_in) AS status_lives_in,
    MAX(partner_id) AS partner_id,
    MAX(add_time) AS add_time,
    MAX(metadata_lives_in) AS metadata_lives_in
  FROM ranked
  WHERE
    recency_rank = 1
  GROUP BY
    order_id,
    number_use
)
SELECT
  @typed_columns(uti, orders, order_id),
  number_use::INTEGER AS number_use, /* 1; 2 and more for an order whose number earlier orders had */
  @typed_columns(uti, orders, tno, status, update_time),
  'epoch'::TIMESTAMP + update_time * INTERVAL '1 SECOND' AS updated_at, /* update_time as a timestamp, UTC */
  status_lives_in::VARCHAR(16) AS status_lives_in, /* mart (it is active), or the half-year of history that holds it */
  @typed_columns(ecs, orders, partner_id, add_time),
  'epoch'::TIMESTAMP + add_time * INTERVAL '1 SECOND' AS created_at, /* add_time as a timestamp, UTC */
  metadata_lives_in::VARCHAR(16) AS metadata_lives_in /* mart, or the half-year of history that holds it */
FROM orders