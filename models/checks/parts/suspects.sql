/* The orders that a check must look at: those that stood out when whole tables were compared.
   macros/suspects.py fills the temporary table before the checks run, and its first lines say why. */
MODEL (
  name order_tracking.suspects,
  kind EMBEDDED,
  tags (check, order_tracking),
  optimize_query FALSE
);

SELECT DISTINCT
  order_id::BIGINT AS order_id
FROM order_tracking_suspects