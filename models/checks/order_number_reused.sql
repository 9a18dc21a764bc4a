/* An order number stands for one order.
   A row is an active order under whose number history holds another, earlier one. Nothing is lost: both are kept. Ask the
   source's owner whether numbers are given out again, and accept the exception with a note. */
MODEL (
  name order_tracking.order_number_reused,
  kind EMBEDDED,
  tags (check, order_tracking),
  optimize_query FALSE
);

SELECT
  'order_number_reused'::VARCHAR(64) AS check_name,
  'order_tracking.mart_uni_tracking_info'::VARCHAR(127) AS table_name,
  order_id::BIGINT AS order_id,
  @number_used_again(last_status)::VARCHAR(4096) AS detail
FROM order_tracking.reused_number