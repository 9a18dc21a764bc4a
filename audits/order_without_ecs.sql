AUDIT (
  name order_without_ecs,
  blocking FALSE
);

/* Warns. A row is an active order without its metadata; the detail says whether history holds it. */
SELECT
  *
FROM @this_model
WHERE
  check_name = 'order_without_ecs' AND checked_on BETWEEN @start_ds AND @end_ds