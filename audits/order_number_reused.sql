AUDIT (
  name order_number_reused,
  blocking FALSE
);

/* Warns. A row is an active order under whose number history holds another, earlier order. */
SELECT
  *
FROM @this_model
WHERE
  check_name = 'order_number_reused' AND checked_on BETWEEN @start_ds AND @end_ds