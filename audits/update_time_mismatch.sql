AUDIT (
  name update_time_mismatch,
  blocking FALSE
);

/* Warns. A row is an active order whose status time is not the time of its newest scan in the mart. */
SELECT
  *
FROM @this_model
WHERE
  check_name = 'update_time_mismatch' AND checked_on BETWEEN @start_ds AND @end_ds