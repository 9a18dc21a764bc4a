AUDIT (
  name archived_but_in_mart,
  blocking FALSE
);

/* Warns. A row is an order whose status was archived while its metadata stayed behind. */
SELECT
  *
FROM @this_model
WHERE
  check_name = 'archived_but_in_mart' AND checked_on BETWEEN @start_ds AND @end_ds