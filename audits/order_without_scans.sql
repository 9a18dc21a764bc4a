AUDIT (
  name order_without_scans,
  blocking FALSE
);

/* Warns. A row is an active order of which neither the mart nor history holds a scan. */
SELECT
  *
FROM @this_model
WHERE
  check_name = 'order_without_scans' AND checked_on BETWEEN @start_ds AND @end_ds