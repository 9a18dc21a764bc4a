AUDIT (
  name active_and_archived,
  blocking FALSE
);

/* Warns. A row is an order that is in a mart and in that mart's history at once (uti, ecs). */
SELECT
  *
FROM @this_model
WHERE
  check_name = 'active_and_archived' AND checked_on BETWEEN @start_ds AND @end_ds