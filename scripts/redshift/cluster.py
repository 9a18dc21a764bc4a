"""Smoke probes of the cluster itself: what it is, how it is set, and where its bucket stands."""

from __future__ import annotations

from extract.s3_parts import S3Parts
from scripts.redshift.probe import Cluster, NotAsNeeded, NotKnownHere, fetch_if_known, probe, region_in


@probe(
    "Which Redshift answers.",
    judges=False,
)
def version(cluster: Cluster) -> str:
    ((text,),) = cluster.warehouse.fetchall("SELECT VERSION()")
    if "redshift" not in str(text).lower():
        raise NotKnownHere("the server is no Redshift")
    return str(text)


@probe(
    "Both levels are fine. With SERIALIZABLE Redshift reports two writers that cross; with SNAPSHOT only the run "
    "lock keeps two landings apart.",
    judges=False,
)
def isolation_level(cluster: Cluster) -> str:
    query = "SELECT isolation_level FROM stv_db_isolation_level WHERE db_name = CURRENT_DATABASE()"
    rows = fetch_if_known(cluster.warehouse, query)
    if not rows:
        raise NotKnownHere("the database is not listed")
    return str(rows[0][0]).strip()


@probe("Names fold to lower case, quoted ones too: the project relies on it.")
def case_setting(cluster: Cluster) -> str:
    rows = fetch_if_known(cluster.warehouse, "SHOW enable_case_sensitive_identifier")
    if str(rows[0][0]).lower() not in ("off", "false"):
        raise NotAsNeeded("enable_case_sensitive_identifier is on: set it to false for the users of this project")
    return "off"


@probe("COPY reads Parquet only from a bucket in the cluster's own region.")
def bucket_region(cluster: Cluster) -> str:
    of_cluster = region_in(cluster.settings.host) or cluster.settings.region
    if of_cluster is None:
        raise NotKnownHere("neither the endpoint's name nor REDSHIFT_REGION says in which region the cluster stands")
    of_bucket = S3Parts(cluster.settings).region()
    if of_bucket is None:
        raise NotKnownHere("S3 does not say in which region the bucket stands")
    if of_bucket != of_cluster:
        raise NotAsNeeded(
            f"the bucket stands in {of_bucket}, the cluster in {of_cluster}: COPY of Parquet files needs both in one "
            "region. Make a bucket there and set REDSHIFT_S3_PREFIX to it"
        )
    return of_bucket
