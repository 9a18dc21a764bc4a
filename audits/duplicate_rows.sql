AUDIT (
  name duplicate_rows,
  blocking FALSE
);

/* Warns. A row is an order with more than one row in uti or ecs, or with a scan that is there twice. */
SELECT
  *
FROM @this_model
WHERE
  check_name = 'duplicate_rows' AND checked_on BETWEEN @start_ds AND @end_ds