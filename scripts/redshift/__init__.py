"""What `order-tracking redshift smoke` tries on a cluster: one file a subject; scripts/redshift_smoke.py lists all."""
