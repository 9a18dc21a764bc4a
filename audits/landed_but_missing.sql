AUDIT (
  name landed_but_missing,
  blocking FALSE
);

/* Warns. A row is an order of which something landed that is in neither mart nor history. */
SELECT
  *
FROM @this_model
WHERE
  check_name = 'landed_but_missing' AND checked_on BETWEEN @start_ds AND @end_ds