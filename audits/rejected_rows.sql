AUDIT (
  name rejected_rows,
  blocking FALSE
);

/* Warns. A row is a source row that could not be loaded; it stands as text in order_tracking_raw.rejected_rows. */
SELECT
  *
FROM @this_model
WHERE
  check_name = 'rejected_rows' AND checked_on BETWEEN @start_ds AND @end_ds