AUDIT (
  name archive_unrouted,
  blocking FALSE
);

/* Warns. A row is an order with rows that have aged out and have no history table to go to. */
SELECT
  *
FROM @this_model
WHERE
  check_name = 'archive_unrouted' AND checked_on BETWEEN @start_ds AND @end_ds