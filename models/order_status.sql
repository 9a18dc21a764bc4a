/* Every active order at a glance: one row per order, with partner, current status and last scan.
   Answers: what is the status of partner X's active orders, and which of them were scanned lately?
   An order that came back and whose metadata is still in history shows with partner_id NULL. Filter on partner_id or
   order_id: both reach the tables before the newest scan is picked. */
MODEL (
  name order_tracking.order_status,
  kind VIEW,
  cron '@yearly',
  start '2000-01-01',
  tags (reading, order_tracking),
  grain order_id,
  depends_on (
    order_tracking.mart_ecs_order_info,
    order_tracking.mart_uni_tracking_info,
    order_tracking.mart_uni_tracking_spath
  )
);

WITH ranked AS (
  SELECT
    uti.order_id,
    uti.tno,
    ecs.partner_id,
    uti.status,
    ecs.add_time,
    uti.update_time,
    uts.code,
    uts.pathtime,
    ROW_NUMBER() OVER (
      PARTITION BY uti.order_id, ecs.partner_id
      ORDER BY uts.pathtime DESC, uts.traceseq DESC, uts.code DESC
    ) AS recency_rank
  FROM order_tracking.mart_uni_tracking_info AS uti
  LEFT JOIN order_tracking.mart_ecs_order_info AS ecs
    ON ecs.order_id = uti.order_id
  LEFT JOIN order_tracking.mart_uni_tracking_spath AS uts
    ON uts.order_id = uti.order_id
)
SELECT
  @typed_columns(uti, ranked, order_id, tno),
  @typed_columns(ecs, ranked, partner_id),
  @typed_columns(uti, ranked, status),
  @typed_columns(ecs, ranked, add_time),
  'epoch'::TIMESTAMP + add_time * INTERVAL '1 SECOND' AS created_at, /* add_time as a timestamp, UTC */
  @typed_columns(uti, ranked, update_time),
  'epoch'::TIMESTAMP + update_time * INTERVAL '1 SECOND' AS updated_at, /* update_time as a timestamp, UTC */
  code AS last_scan_code, /* What the newest scan says */
  pathtime AS last_scan_time /* When that was, epoch seconds UTC */
FROM ranked
WHERE
  recency_rank = 1