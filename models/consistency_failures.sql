/* What the daily checks found: one row per check, order and day (archive_unrouted, history_table_gone: one per table and
   half-year; rejected_rows, source_differs: one per table and reason). What was accepted is left out until it changes.
   Answers: do the three marts agree, and is all that landed still there?
   Each check stands in models/checks/ under its name, which its audit bears too; it may name the steps below. What
   landed within the last two cycles is not judged yet, so nothing is reported that a later cycle mends by itself.
   Afterwards the findings are entered in order_tracking_history.order_tracking_exceptions, and what is no longer found
   is closed there. */
MODEL (
  name order_tracking.consistency_failures,
  kind INCREMENTAL_BY_TIME_RANGE (
    time_column checked_on,
    forward_only TRUE,
    disable_restatement TRUE
  ),
  cron '@daily',
  tags (check, order_tracking),
  optimize_query FALSE,
  grain (check_name, table_name, order_id, detail, checked_on),
  depends_on (
    order_tracking.mart_ecs_order_info,
    order_tracking.mart_uni_tracking_info,
    order_tracking.mart_uni_tracking_spath
  ),
  physical_properties (
    sortkey = (
      checked_on
    )
  ),
  audits (
    update_time_mismatch,
    order_without_scans,
    order_without_ecs,
    metadata_without_status,
    duplicate_rows,
    active_and_archived,
    order_number_reused,
    landed_but_missing,
    archived_but_in_mart,
    rejected_rows,
    archive_unrouted,
    history_table_gone,
    source_differs
  ),
  columns (
    check_name VARCHAR(64),
    table_name VARCHAR(127),
    order_id BIGINT,
    detail VARCHAR(4096),
    checked_on DATE
  )
);

@find_suspects();

WITH suspects AS (
  /* The orders that a check must look at: macros/suspects.py has put them there, and its first lines say why. */
  SELECT DISTINCT
    order_id
  FROM order_tracking_suspects
), active_status AS (
  /* The status of each suspect that is active. */
  SELECT
    @typed_columns(uti, uti)
  FROM suspects
  JOIN order_tracking.mart_uni_tracking_info AS uti
    ON uti.order_id = suspects.order_id
), active_metadata AS (
  /* The metadata of each suspect in the mart. */
  SELECT
    @typed_columns(ecs, ecs)
  FROM suspects
  JOIN order_tracking.mart_ecs_order_info AS ecs
    ON ecs.order_id = suspects.order_id
), archived_status AS (
  /* Each status of a suspect that history holds. */
  SELECT
    @typed_columns(uti, history),
    history.archived_at
  FROM suspects
  JOIN order_tracking_history.hist_uti_all AS history
    ON history.order_id = suspects.order_id
), archived_metadata AS (
  /* Each row of a suspect's metadata that history holds. */
  SELECT
    @typed_columns(ecs, history)
  FROM suspects
  JOIN order_tracking_history.hist_ecs_all AS history
    ON history.order_id = suspects.order_id
)
SELECT
  check_name::VARCHAR(64) AS check_name, /* Which check, named as its audit */
  table_name::VARCHAR(127) AS table_name, /* The table in which the order fails it */
  order_id::BIGINT AS order_id, /* The order; NULL where the finding is about a table */
  detail::VARCHAR(4096) AS detail, /* What is wrong */
  @end_ds::DATE AS checked_on /* The last day that the check covers */
FROM (
  @failures_of(
    update_time_mismatch,
    order_without_scans,
    order_without_ecs,
    metadata_without_status,
    duplicate_rows,
    active_and_archived,
    order_number_reused,
    landed_but_missing,
    archived_but_in_mart,
    rejected_rows,
    archive_unrouted,
    history_table_gone,
    source_differs
  )
) AS failures;

@keep_exceptions()