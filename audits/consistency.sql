AUDIT (
  name update_time_mismatch,
  blocking FALSE
);

/* Warns. A row is an active order whose status time is not about the time of its newest scan in the mart. */
SELECT
  *
FROM @this_model
WHERE
  check_name = 'update_time_mismatch' AND checked_on BETWEEN @start_ds AND @end_ds;

AUDIT (
  name order_without_scans,
  blocking FALSE
);

/* Warns. A row is an active order of which neither the mart nor history holds a scan. */
SELECT
  *
FROM @this_model
WHERE
  check_name = 'order_without_scans' AND checked_on BETWEEN @start_ds AND @end_ds;

AUDIT (
  name order_without_ecs,
  blocking FALSE
);

/* Warns. A row is an active order without its metadata; the detail says whether history holds it. */
SELECT
  *
FROM @this_model
WHERE
  check_name = 'order_without_ecs' AND checked_on BETWEEN @start_ds AND @end_ds;

AUDIT (
  name metadata_without_status,
  blocking FALSE
);

/* Warns. A row is metadata that landed more than a day ago and whose order never got a status. */
SELECT
  *
FROM @this_model
WHERE
  check_name = 'metadata_without_status'
  AND checked_on BETWEEN @start_ds AND @end_ds;

AUDIT (
  name duplicate_rows,
  blocking FALSE
);

/* Warns. A row is an order with more than one row in uti or ecs, or with a scan that is there twice. */
SELECT
  *
FROM @this_model
WHERE
  check_name = 'duplicate_rows' AND checked_on BETWEEN @start_ds AND @end_ds;

AUDIT (
  name active_and_archived,
  blocking FALSE
);

/* Warns. A row is an order that is in a mart and in that mart's history at once (uti, ecs). */
SELECT
  *
FROM @this_model
WHERE
  check_name = 'active_and_archived' AND checked_on BETWEEN @start_ds AND @end_ds;

AUDIT (
  name order_number_reused,
  blocking FALSE
);

/* Warns. A row is an active order under whose number history holds another, earlier order. */
SELECT
  *
FROM @this_model
WHERE
  check_name = 'order_number_reused' AND checked_on BETWEEN @start_ds AND @end_ds;

AUDIT (
  name landed_but_missing,
  blocking FALSE
);

/* Warns. A row is an order of which something landed that is in neither mart nor history. */
SELECT
  *
FROM @this_model
WHERE
  check_name = 'landed_but_missing' AND checked_on BETWEEN @start_ds AND @end_ds;

AUDIT (
  name archived_but_in_mart,
  blocking FALSE
);

/* Warns. A row is an order whose status was archived while its metadata stayed behind. */
SELECT
  *
FROM @this_model
WHERE
  check_name = 'archived_but_in_mart' AND checked_on BETWEEN @start_ds AND @end_ds;

AUDIT (
  name rejected_rows,
  blocking FALSE
);

/* Warns. A row says how many rows of a table could not be loaded for a reason; order_tracking_raw.rejected_rows has them. */
SELECT
  *
FROM @this_model
WHERE
  check_name = 'rejected_rows' AND checked_on BETWEEN @start_ds AND @end_ds;

AUDIT (
  name archive_unrouted,
  blocking FALSE
);

/* Warns. A row is a table and half-year whose rows have aged out and have no history table to go to. */
SELECT
  *
FROM @this_model
WHERE
  check_name = 'archive_unrouted' AND checked_on BETWEEN @start_ds AND @end_ds;

AUDIT (
  name history_table_gone,
  blocking FALSE
);

/* Warns. A row is a history table that was dropped, and stands again without the rows that were archived in it. */
SELECT
  *
FROM @this_model
WHERE
  check_name = 'history_table_gone' AND checked_on BETWEEN @start_ds AND @end_ds;

AUDIT (
  name source_differs,
  blocking FALSE
);

/* Warns. A row says how many rows of a table the source shows otherwise than the warehouse holds them. */
SELECT
  *
FROM @this_model
WHERE
  check_name = 'source_differs' AND checked_on BETWEEN @start_ds AND @end_ds