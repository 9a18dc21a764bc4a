/* What the daily checks found: one row per check, order and day (rejected rows: one per row).
   Answers: do the three marts agree, and is all that landed still there?
   A row that landed within the last two cycles is not judged yet, so nothing is reported that a later cycle mends by
   itself. Afterwards the findings are entered in order_tracking_history.order_tracking_exceptions, and what is no longer
   found is closed there. Each check is described in the audit of its name. */
MODEL (
  name order_tracking.consistency_failures,
  kind INCREMENTAL_BY_TIME_RANGE (
    time_column checked_on,
    forward_only TRUE,
    disable_restatement TRUE,
    on_destructive_change ERROR
  ),
  cron '@daily',
  owner data_engineering,
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
    duplicate_rows,
    active_and_archived,
    order_number_reused,
    landed_but_missing,
    archived_but_in_mart,
    rejected_rows,
    archive_unrouted
  ),
  columns (
    check_name VARCHAR(64),
    table_name VARCHAR(127),
    order_id BIGINT,
    detail VARCHAR(4096),
    checked_on DATE
  )
);

@look_for_suspects();

WITH suspects AS (
  /* The orders that stood out where the tables were compared as a whole: macros/suspects.py. */
  SELECT DISTINCT
    order_id
  FROM order_tracking_suspects
), active AS (
  SELECT
    uti.order_id,
    uti.tno,
    uti.update_time,
    uti.landed_at
  FROM suspects
  JOIN order_tracking.mart_uni_tracking_info AS uti
    ON uti.order_id = suspects.order_id
), uti AS (
  SELECT
    order_id,
    update_time
  FROM active
  WHERE
    landed_at < @settled_before()
), ecs AS (
  SELECT
    mart.order_id,
    mart.add_time,
    mart.landed_at
  FROM suspects
  JOIN order_tracking.mart_ecs_order_info AS mart
    ON mart.order_id = suspects.order_id
), archived_uti AS (
  SELECT
    history.order_id,
    history.tno,
    history.update_time,
    history.archived_at
  FROM suspects
  JOIN order_tracking_history.hist_uti_all AS history
    ON history.order_id = suspects.order_id
), archived_ecs AS (
  SELECT DISTINCT
    history.order_id,
    history.add_time
  FROM suspects
  JOIN order_tracking_history.hist_ecs_all AS history
    ON history.order_id = suspects.order_id
), created AS (
  SELECT
    metadata.order_id,
    MIN(metadata.add_time) AS first_created,
    MAX(metadata.add_time) AS last_created
  FROM (
    SELECT
      order_id,
      add_time
    FROM ecs
    UNION ALL
    SELECT
      order_id,
      add_time
    FROM archived_ecs
  ) AS metadata
  GROUP BY
    metadata.order_id
), namesakes AS (
  /* Active orders under whose number history holds another order, and when that one's last status was. */
  SELECT
    active.order_id,
    MAX(archived.update_time) AS last_status
  FROM active
  JOIN archived_uti AS archived
    ON archived.order_id = active.order_id
  LEFT JOIN created
    ON created.order_id = active.order_id
  WHERE
    @is_another_order(archived, active, created)
  GROUP BY
    active.order_id
), newest_scans AS (
  SELECT
    scans.order_id,
    MAX(scans.pathtime) AS pathtime,
    MAX(scans.landed_at) AS landed_at
  FROM suspects
  JOIN order_tracking.mart_uni_tracking_spath AS scans
    ON scans.order_id = suspects.order_id
  GROUP BY
    scans.order_id
), update_time_mismatch AS (
  SELECT
    'update_time_mismatch'::VARCHAR(64) AS check_name,
    'order_tracking.mart_uni_tracking_info'::VARCHAR(127) AS table_name,
    uti.order_id,
    CASE
      WHEN newest_scans.order_id IS NULL
      THEN 'the mart holds no scan of this order'
      WHEN newest_scans.pathtime > uti.update_time
      THEN 'the newest scan is newer than the status'
      ELSE 'the status is newer than the newest scan'
    END::VARCHAR(4096) AS detail
  FROM uti
  LEFT JOIN newest_scans
    ON newest_scans.order_id = uti.order_id
  WHERE
    newest_scans.order_id IS NULL
    OR (
      newest_scans.pathtime <> uti.update_time
      AND newest_scans.landed_at < @settled_before()
    )
), order_without_scans AS (
  SELECT
    'order_without_scans'::VARCHAR(64) AS check_name,
    'order_tracking.mart_uni_tracking_spath'::VARCHAR(127) AS table_name,
    uti.order_id,
    'neither the mart nor history holds a scan of this order'::VARCHAR(4096) AS detail
  FROM uti
  LEFT JOIN newest_scans
    ON newest_scans.order_id = uti.order_id
  LEFT JOIN order_tracking_history.hist_uts_all AS archived
    ON archived.order_id = uti.order_id
  WHERE
    newest_scans.order_id IS NULL AND archived.order_id IS NULL
), order_without_ecs AS (
  SELECT
    'order_without_ecs'::VARCHAR(64) AS check_name,
    'order_tracking.mart_ecs_order_info'::VARCHAR(127) AS table_name,
    uti.order_id,
    CASE
      WHEN COUNT(archived.order_id) = 0
      THEN 'no row anywhere'
      WHEN MAX(archived.add_time) <= MAX(namesakes.last_status)
      THEN 'history holds only the row of an earlier order under this number'
      ELSE 'history holds its row, the order came back: restore it'
    END::VARCHAR(4096) AS detail
  FROM uti
  LEFT JOIN ecs
    ON ecs.order_id = uti.order_id
  LEFT JOIN archived_ecs AS archived
    ON archived.order_id = uti.order_id
  LEFT JOIN namesakes
    ON namesakes.order_id = uti.order_id
  WHERE
    ecs.order_id IS NULL
  GROUP BY
    uti.order_id
), doubled_before AS (
  SELECT
    order_id
  FROM order_tracking_history.order_tracking_exceptions
  WHERE
    check_name = 'duplicate_rows'
    AND table_name = 'order_tracking.mart_uni_tracking_spath'
    AND resolved_at IS NULL
), duplicate_rows AS (
  SELECT
    'duplicate_rows'::VARCHAR(64) AS check_name,
    'order_tracking.mart_uni_tracking_info'::VARCHAR(127) AS table_name,
    order_id,
    'more than one row'::VARCHAR(4096) AS detail
  FROM active
  GROUP BY
    order_id
  HAVING
    COUNT(*) > 1
  UNION ALL
  SELECT
    'duplicate_rows'::VARCHAR(64),
    'order_tracking.mart_ecs_order_info'::VARCHAR(127),
    order_id,
    'more than one row'::VARCHAR(4096)
  FROM ecs
  GROUP BY
    order_id
  HAVING
    COUNT(*) > 1
  /* Of scans, what landed in the days checked (and in the hour before, which their cycles took again), those of open
     exceptions, and, whoever may have written them, a 28th in turn: four weeks see the whole mart. */
  UNION ALL
  SELECT DISTINCT
    'duplicate_rows'::VARCHAR(64),
    'order_tracking.mart_uni_tracking_spath'::VARCHAR(127),
    repeated.order_id,
    'more than one row of a scan'::VARCHAR(4096)
  FROM (
    SELECT
      recent.order_id
    FROM (
      SELECT
        order_id,
        pathtime,
        code,
        traceseq
      FROM order_tracking.mart_uni_tracking_spath
      WHERE
        landed_at >= @start_ts::TIMESTAMP - INTERVAL '1 HOUR' OR landed_at IS NULL
      UNION
      SELECT
        scans.order_id,
        scans.pathtime,
        scans.code,
        scans.traceseq
      FROM doubled_before
      JOIN order_tracking.mart_uni_tracking_spath AS scans
        ON scans.order_id = doubled_before.order_id
    ) AS recent
    JOIN order_tracking.mart_uni_tracking_spath AS held
      ON held.order_id = recent.order_id AND @is_identical(held, recent, uts)
    GROUP BY
      recent.order_id,
      recent.pathtime,
      recent.code,
      recent.traceseq
    HAVING
      COUNT(*) > 1
    UNION ALL
    SELECT
      order_id
    FROM order_tracking.mart_uni_tracking_spath
    WHERE
      @has_its_turn(pathtime)
    GROUP BY
      order_id,
      pathtime,
      code,
      traceseq
    HAVING
      COUNT(*) > 1
  ) AS repeated
), active_and_archived AS (
  SELECT DISTINCT
    'active_and_archived'::VARCHAR(64) AS check_name,
    'order_tracking.mart_uni_tracking_info'::VARCHAR(127) AS table_name,
    mart.order_id,
    'both in the mart and in history'::VARCHAR(4096) AS detail
  FROM active AS mart
  JOIN archived_uti AS archived
    ON archived.order_id = mart.order_id
  LEFT JOIN created
    ON created.order_id = mart.order_id
  WHERE
    NOT @is_another_order(archived, mart, created)
  UNION ALL
  SELECT DISTINCT
    'active_and_archived'::VARCHAR(64),
    'order_tracking.mart_ecs_order_info'::VARCHAR(127),
    mart.order_id,
    'both in the mart and in history'::VARCHAR(4096)
  FROM ecs AS mart
  JOIN archived_ecs AS archived
    ON archived.order_id = mart.order_id AND archived.add_time = mart.add_time
), order_number_reused AS (
  SELECT
    'order_number_reused'::VARCHAR(64) AS check_name,
    'order_tracking.mart_uni_tracking_info'::VARCHAR(127) AS table_name,
    order_id,
    @number_used_again() AS detail
  FROM namesakes
), scan_stamps AS (
  /* Landings whose scans count differently in raw and in mart and history: only their rows are looked up one by one. */
  SELECT
    landed_at
  FROM (
    SELECT
      landed_at,
      order_id,
      pathtime,
      code,
      traceseq,
      1 AS scans
    FROM order_tracking_raw.uni_tracking_spath_raw
    WHERE
      landed_at < @settled_before()
    UNION ALL
    SELECT
      landed_at,
      -order_id,
      -pathtime,
      -code::BIGINT,
      -traceseq::BIGINT,
      -1
    FROM order_tracking.mart_uni_tracking_spath
    WHERE
      landed_at < @settled_before()
      AND landed_at >= @settled_before() - INTERVAL '40 DAYS'
    UNION ALL
    SELECT
      landed_at,
      -order_id,
      -pathtime,
      -code::BIGINT,
      -traceseq::BIGINT,
      -1
    FROM order_tracking_history.hist_uts_all
    WHERE
      landed_at < @settled_before()
      AND landed_at >= @settled_before() - INTERVAL '40 DAYS'
  ) AS landings
  GROUP BY
    landed_at
  HAVING
    SUM(scans) <> 0
    OR SUM(order_id) <> 0
    OR SUM(pathtime) <> 0
    OR SUM(code) <> 0
    OR SUM(traceseq) <> 0
), landed_but_missing AS (
  SELECT DISTINCT
    'landed_but_missing'::VARCHAR(64) AS check_name,
    'order_tracking.mart_uni_tracking_info'::VARCHAR(127) AS table_name,
    landed.order_id,
    'a status landed, but neither mart nor history holds it or a newer one'::VARCHAR(4096) AS detail
  FROM suspects
  JOIN order_tracking_raw.uni_tracking_info_raw AS landed
    ON landed.order_id = suspects.order_id
  LEFT JOIN order_tracking.mart_uni_tracking_info AS mart
    ON mart.order_id = landed.order_id
  LEFT JOIN order_tracking_history.hist_uti_all AS archived
    ON archived.order_id = landed.order_id
  WHERE
    (
      mart.order_id IS NULL OR @is_older(mart, landed, uti)
    )
    AND landed.landed_at < @settled_before()
  GROUP BY
    @raw_columns(uti, landed)
  HAVING
    MAX(
      CASE
        WHEN archived.order_id IS NULL OR @is_older(archived, landed, uti)
        THEN 0
        ELSE 1
      END
    ) = 0
  UNION ALL
  SELECT DISTINCT
    'landed_but_missing'::VARCHAR(64),
    'order_tracking.mart_ecs_order_info'::VARCHAR(127),
    landed.order_id,
    'metadata landed, but neither mart nor history holds it or a newer one'::VARCHAR(4096)
  FROM suspects
  JOIN order_tracking_raw.ecs_order_info_raw AS landed
    ON landed.order_id = suspects.order_id
  LEFT JOIN order_tracking.mart_ecs_order_info AS mart
    ON mart.order_id = landed.order_id
  LEFT JOIN order_tracking_history.hist_ecs_all AS archived
    ON archived.order_id = landed.order_id
  WHERE
    (
      mart.order_id IS NULL OR @is_older(mart, landed, ecs)
    )
    AND landed.landed_at < @settled_before()
  GROUP BY
    @raw_columns(ecs, landed)
  HAVING
    MAX(
      CASE
        WHEN archived.order_id IS NULL OR @is_older(archived, landed, ecs)
        THEN 0
        ELSE 1
      END
    ) = 0
  UNION ALL
  SELECT DISTINCT
    'landed_but_missing'::VARCHAR(64),
    'order_tracking.mart_uni_tracking_spath'::VARCHAR(127),
    landed.order_id,
    'a scan landed, but neither mart nor history holds it'::VARCHAR(4096)
  FROM scan_stamps
  JOIN order_tracking_raw.uni_tracking_spath_raw AS landed
    ON landed.landed_at = scan_stamps.landed_at
  LEFT JOIN order_tracking.mart_uni_tracking_spath AS mart
    ON mart.order_id = landed.order_id AND @is_identical(mart, landed, uts)
  LEFT JOIN order_tracking_history.hist_uts_all AS archived
    ON archived.order_id = landed.order_id AND @is_identical(archived, landed, uts)
  WHERE
    mart.order_id IS NULL
    AND archived.order_id IS NULL
    AND landed.landed_at < @settled_before()
), archived_but_in_mart AS (
  SELECT DISTINCT
    'archived_but_in_mart'::VARCHAR(64) AS check_name,
    'order_tracking.mart_ecs_order_info'::VARCHAR(127) AS table_name,
    ecs.order_id,
    'its order is archived, but its row is still in the mart'::VARCHAR(4096) AS detail
  FROM ecs
  JOIN archived_uti AS archived
    ON archived.order_id = ecs.order_id
  LEFT JOIN active
    ON active.order_id = ecs.order_id
  LEFT JOIN created
    ON created.order_id = ecs.order_id
  WHERE
    active.order_id IS NULL
    AND /* Metadata of a later order under the number waits for its status. */ NOT (
      ecs.add_time > archived.update_time AND ecs.add_time > created.first_created
    )
    AND ecs.landed_at < @settled_before()
    AND archived.archived_at < @settled_before()
), rejected_rows AS (
  /* Until an operator resolves the exception: there is no other way for a rejected row to be settled. */
  SELECT
    'rejected_rows'::VARCHAR(64) AS check_name,
    'order_tracking_raw.' || rejected.table_name || '_raw' AS table_name,
    rejected.order_id,
    @rejection_detail(rejected) AS detail
  FROM order_tracking_raw.rejected_rows AS rejected
  LEFT JOIN order_tracking_history.order_tracking_exceptions AS settled
    ON settled.check_name = 'rejected_rows'
    AND settled.table_name = 'order_tracking_raw.' || rejected.table_name || '_raw'
    AND settled.detail = @rejection_detail(rejected)
    AND settled.resolution <> 'cleared'
  WHERE
    settled.check_name IS NULL
), archive_unrouted AS (
  /* Found by the marts themselves, in every cycle for as long as it lasts. */
  SELECT
    check_name,
    table_name,
    order_id,
    detail
  FROM order_tracking_history.order_tracking_exceptions
  WHERE
    check_name = 'archive_unrouted'
    AND resolved_at IS NULL
    AND last_seen_at > @end_ts::TIMESTAMP
), failures AS (
  SELECT
    check_name,
    table_name,
    order_id,
    detail
  FROM update_time_mismatch
  UNION ALL
  SELECT
    check_name,
    table_name,
    order_id,
    detail
  FROM order_without_scans
  UNION ALL
  SELECT
    check_name,
    table_name,
    order_id,
    detail
  FROM order_without_ecs
  UNION ALL
  SELECT
    check_name,
    table_name,
    order_id,
    detail
  FROM duplicate_rows
  UNION ALL
  SELECT
    check_name,
    table_name,
    order_id,
    detail
  FROM active_and_archived
  UNION ALL
  SELECT
    check_name,
    table_name,
    order_id,
    detail
  FROM order_number_reused
  UNION ALL
  SELECT
    check_name,
    table_name,
    order_id,
    detail
  FROM landed_but_missing
  UNION ALL
  SELECT
    check_name,
    table_name,
    order_id,
    detail
  FROM archived_but_in_mart
  UNION ALL
  SELECT
    check_name,
    table_name,
    order_id,
    detail
  FROM rejected_rows
  UNION ALL
  SELECT
    check_name,
    table_name,
    order_id,
    detail
  FROM archive_unrouted
)
SELECT
  check_name::VARCHAR(64) AS check_name, /* Which check, named as its audit */
  table_name::VARCHAR(127) AS table_name, /* The table in which the order fails it */
  order_id::BIGINT AS order_id, /* The order; NULL where a rejected row has none */
  detail::VARCHAR(4096) AS detail, /* What is wrong */
  @end_ds::DATE AS checked_on /* The last day that the check covers */
FROM failures;

@keep_exceptions()