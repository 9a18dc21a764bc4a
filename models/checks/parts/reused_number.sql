/* Active orders whose number an archived order had before them, and when that one's last status was.
   It is another order if its tracking number differs, or if the number was given out again after its last status. */
MODEL (
  name order_tracking.reused_number,
  kind EMBEDDED,
  tags (check, order_tracking),
  optimize_query FALSE
);

SELECT
  active.order_id::BIGINT AS order_id,
  MAX(archived.update_time)::BIGINT AS last_status
FROM active_status AS active
JOIN archived_status AS archived
  ON archived.order_id = active.order_id
LEFT JOIN order_tracking.order_creation AS created
  ON created.order_id = active.order_id
WHERE
  @is_another_order(archived, active, created)
GROUP BY
  active.order_id