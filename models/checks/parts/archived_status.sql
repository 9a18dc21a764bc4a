/* Each status of a suspect that history holds. */
MODEL (
  name order_tracking.archived_status,
  kind EMBEDDED,
  tags (check, order_tracking),
  optimize_query FALSE,
  depends_on (
    order_tracking.mart_uni_tracking_info
  )
);

SELECT
  @typed_columns(uti, history),
  history.archived_at::TIMESTAMP AS archived_at
FROM order_tracking.suspects AS suspects
JOIN order_tracking_history.hist_uti_all AS history
  ON history.order_id = suspects.order_id