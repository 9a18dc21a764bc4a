/* Every active order at a glance: one row per order, with partner, current status and last scan.
   Answers: what is the status of partner X's active orders, and which of them were scanned lately?
   An order that came back and whose metadata is still in history shows with partner_id NULL. Filter on partner_id or
   order_id: both reach the tables before the newest scan is picked. */
MODEL (
  name order_tracking.order_status,
  kind VIEW,
  owner data_engineering,
  tags (reading, order_tracking),
  grain order_id,
  depends_on (
    order_tracking.mart_ecs_order_info,
    order_tracking.mart_uni_tracking_info,
    order_tracking.mart_uni_tracking_spath
  )
);

WITH newest_first AS (
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
      ORDER BY uts.pathtime DESC, uts.traceseq DESC
    ) AS position
  FROM order_tracking.mart_uni_tracking_info AS uti
  LEFT JOIN order_tracking.mart_ecs_order_info AS ecs
    ON ecs.order_id = uti.order_id
  LEFT JOIN order_tracking.mart_uni_tracking_spath AS uts
    ON uts.order_id = uti.order_id
)
SELECT
  order_id::BIGINT AS order_id, /* The order */
  tno::VARCHAR(64) AS tno, /* Tracking number */
  partner_id::INTEGER AS partner_id, /* The partner it belongs to */
  status::INTEGER AS status, /* Current status */
  add_time::BIGINT AS add_time, /* When it was created, epoch seconds UTC */
  'epoch'::TIMESTAMP + add_time * INTERVAL '1 SECOND' AS created_at, /* The same as a timestamp, UTC */
  update_time::BIGINT AS update_time, /* When the status became so, epoch seconds UTC */
  'epoch'::TIMESTAMP + update_time * INTERVAL '1 SECOND' AS updated_at, /* The same as a timestamp, UTC */
  code::INTEGER AS last_scan_code, /* What the newest scan says */
  pathtime::BIGINT AS last_scan_time /* When that was, epoch seconds UTC */
FROM newest_first
WHERE
  position = 1