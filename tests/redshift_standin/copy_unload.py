"""COPY from a manifest of Parquet files and UNLOAD to Parquet, under Redshift's rules.

COPY checks every file against the table first (columns by position, exact types, byte lengths) and then hands
the rows to PostgreSQL over the client's own connection, so a ROLLBACK takes them back.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from .backend import Backend, Result
from .lexer import sql_string, tokens
from .properties import sql_name
from .rewrite import plan
from .transfer_rules import Transfer, read_transfer

# PostgreSQL's name of a column type → the only Arrow type that a Parquet file may hold for it.
_ARROW = {
    "bigint": pa.int64(),
    "integer": pa.int32(),
    "smallint": pa.int16(),
    "real": pa.float32(),
    "double precision": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp without time zone": pa.timestamp("us"),
}
_OIDS = {20: pa.int64(), 23: pa.int32(), 21: pa.int16(), 700: pa.float32(), 701: pa.float64(), 16: pa.bool_()}
_OIDS |= {1082: pa.date32(), 1114: pa.timestamp("us")}


class TransferError(Exception):
    """Why a COPY or UNLOAD failed, in the fields of an ErrorResponse."""

    def __init__(self, text: str, detail: str = "", code: str = "XX000") -> None:
        super().__init__(text, detail)
        self.code, self.text, self.detail = code, text, detail

    @classmethod
    def from_result(cls, result: Result) -> TransferError:
        error = result.error
        return cls(error.get("M", ""), error.get("D", ""), error.get("C", "XX000"))


def run_transfer(sql: str, s3: Callable[[], Any], backend: Backend) -> tuple[str, str]:
    """Run a COPY or UNLOAD that the linter let pass; gives the command tag and the notice."""
    if backend.status == b"E":
        raise TransferError("current transaction is aborted", code="25P02")
    transfer = read_transfer(tokens(sql))
    if transfer.verb == "COPY":
        count = _copy(transfer, s3(), backend)
        backend.query(f"SET standin.copied = {count}")
        return "COPY", f"Load into table '{transfer.table}' completed, {count} record(s) loaded successfully."
    count = _unload(transfer, s3(), backend)
    backend.query(f"SET standin.unloaded = {count}")
    return "UNLOAD", f"UNLOAD completed, {count} record(s) unloaded successfully."


def _bucket_and_key(address: str) -> tuple[str, str]:
    parts = urlsplit(address)
    return parts.netloc, parts.path.lstrip("/")


# COPY ----------------------------------------------------------------------------------------------------


def _copy(transfer: Transfer, client: Any, backend: Backend) -> int:
    table = _target_columns(transfer, backend)
    loaded = [_checked(url, data, table, transfer.options) for url, data in _manifest_files(transfer, client)]
    names = ", ".join(sql_name(name) for name, _ in table)
    statement = f"COPY {sql_name(transfer.table)} ({names}) FROM STDIN WITH (FORMAT csv)"
    result = backend.copy_in(statement, _csv_chunks(loaded))
    if result.error:
        raise TransferError.from_result(result)
    return sum(rows.num_rows for rows in loaded)


def _target_columns(transfer: Transfer, backend: Backend) -> list[tuple[str, str]]:
    """The target's columns (name, PostgreSQL type) in the order in which a file must have them."""
    table = sql_string(sql_name(transfer.table))
    found = backend.query(
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_catalog.pg_attribute "
        f"WHERE attnum > 0 AND NOT attisdropped AND attrelid = to_regclass({table}) ORDER BY attnum"
    )
    if not found.rows:
        raise TransferError(f"Cannot COPY into nonexistent table {transfer.table}", code="42P01")
    types = {str(name): str(kind) for name, kind in found.rows}
    unknown = [name for name in transfer.columns if name not in types]
    if unknown:
        raise TransferError(f'column "{unknown[0]}" of relation "{transfer.table}" does not exist', code="42703")
    return [(name, types[name]) for name in transfer.columns or types]


def _manifest_files(transfer: Transfer, client: Any) -> Iterator[tuple[str, bytes]]:
    """The files of the manifest with their addresses; a missing or different one is an error."""
    body = _object(client, transfer.address)
    if body is None:
        raise TransferError(f"The specified S3 prefix '{transfer.address}' does not exist")
    try:
        entries = json.loads(body)["entries"]
    except (ValueError, KeyError, TypeError):
        raise TransferError("Invalid JSON in the manifest file", transfer.address) from None
    if not entries:
        raise TransferError("The manifest holds no entries", transfer.address)
    for entry in entries:
        url, length = entry["url"], entry.get("meta", {}).get("content_length")
        if length is None:
            text = "Manifest file does not specify content_length, which Parquet files need in meta"
            raise TransferError(text, url)
        data = _object(client, url)
        if data is None:
            # Without `mandatory` Redshift skips a missing file in silence: the row count has to tell.
            if entry.get("mandatory"):
                raise TransferError("Mandatory url is not present in manifest's bucket", url)
            continue
        if len(data) != length:
            raise TransferError("Spectrum Scan Error", f"content_length {length} of {url} is {len(data)} in S3")
        yield url, data


def _object(client: Any, address: str) -> bytes | None:
    bucket, key = _bucket_and_key(address)
    try:
        return bytes(client.get_object(Bucket=bucket, Key=key)["Body"].read())
    except client.exceptions.ClientError as error:
        if error.response["Error"]["Code"] in ("NoSuchKey", "NoSuchBucket", "404"):
            return None
        raise TransferError(f"S3ServiceException:{error}", address) from None


def _checked(url: str, data: bytes, table: list[tuple[str, str]], options: dict[str, str]) -> pa.Table:
    """The file's rows when its columns fit the table's exactly."""
    try:
        parquet = pq.ParquetFile(io.BytesIO(data))
    except pa.ArrowInvalid as error:
        raise TransferError("Spectrum Scan Error", f"{url} is not a Parquet file: {error}") from None
    schema = parquet.schema_arrow
    missing = len(table) - len(schema)
    if missing < 0 or (missing > 0 and "FILLRECORD" not in options):
        text = f"Unmatched number of columns between table and file. Table columns: {len(table)}, Data columns: "
        raise TransferError(text + str(len(schema)), f"file: {url}")
    for (name, kind), found in zip(table, schema, strict=False):
        if not _fits(kind, found.type):
            text = f"{url} has an incompatible Parquet schema for column '{name}'. Column type: {kind.upper()}"
            raise TransferError("Spectrum Scan Error", f"{text}, Parquet schema: {found.type} {found.name}")
    rows = parquet.read()
    for position, (name, kind) in enumerate(table[: len(schema)]):
        if limit := re.fullmatch(r"character(?: varying)?\((\d+)\)", kind):
            _check_length(url, name, rows.column(position), int(limit.group(1)))
    for name, kind in table[len(schema) :]:
        rows = rows.append_column(name, pa.nulls(rows.num_rows, _ARROW.get(kind, pa.string())))
    return rows


def _fits(kind: str, arrow: pa.DataType) -> bool:
    if kind.startswith("character") or kind == "text":
        return bool(arrow == pa.string())
    if numeric := re.fullmatch(r"numeric\((\d+),(\d+)\)", kind):
        return bool(arrow == pa.decimal128(int(numeric.group(1)), int(numeric.group(2))))
    return kind in _ARROW and bool(arrow == _ARROW[kind])


def _check_length(url: str, name: str, values: pa.ChunkedArray, limit: int) -> None:
    longest = pc.max(pc.binary_length(values)).as_py()
    if longest is not None and longest > limit:
        text = f"The length of the data column {name} is longer than the length defined in the table."
        raise TransferError("Spectrum Scan Error", f"{text} Table: {limit}, Data: {longest}, file: {url}")


def _csv_chunks(loaded: list[pa.Table]) -> Iterator[bytes]:
    """The rows as CSV: NULL is an empty field, an empty string a quoted one."""
    options = pa_csv.WriteOptions(include_header=False, quoting_style="needed")
    for rows in loaded:
        for batch in rows.to_batches(max_chunksize=50_000):
            out = io.BytesIO()
            pa_csv.write_csv(batch, out, options)
            yield out.getvalue()


# UNLOAD --------------------------------------------------------------------------------------------------


def _unload(transfer: Transfer, client: Any, backend: Backend) -> int:
    query = plan(transfer.query).sql
    rows = _query_rows(query, backend)
    bucket, prefix = _bucket_and_key(transfer.address)
    there = client.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
    if there and not transfer.options.keys() & {"ALLOWOVERWRITE", "CLEANPATH"}:
        text = "Specified unload destination on S3 is not empty. Consider using a different bucket / prefix, "
        raise TransferError(text + "removing the target files in S3, or ALLOWOVERWRITE.", transfer.address)
    if "CLEANPATH" in transfer.options:
        for item in there:
            client.delete_object(Bucket=bucket, Key=item["Key"])
    parts = 1 if transfer.options.get("PARALLEL") in ("off", "false") else 2  # two slices, so two files
    size = -(-rows.num_rows // parts)
    entries = []
    for part in range(parts):
        piece = rows.slice(part * size, size)
        if part and not piece.num_rows:
            break
        out = io.BytesIO()
        pq.write_table(piece, out)
        key = f"{prefix}{part:04d}_part_00.parquet"
        client.put_object(Bucket=bucket, Key=key, Body=out.getvalue())
        meta = {"content_length": out.tell(), "record_count": piece.num_rows}
        entries.append({"url": f"s3://{bucket}/{key}", "mandatory": True, "meta": meta})
    if "MANIFEST" in transfer.options:
        body = json.dumps({"entries": entries}).encode()
        client.put_object(Bucket=bucket, Key=prefix + "manifest", Body=body)
    return int(rows.num_rows)


def _query_rows(query: str, backend: Backend) -> pa.Table:
    described = backend.query(f"SELECT * FROM ({query}) unloaded LIMIT 0")
    data, result = backend.copy_out(f"COPY ({query}) TO STDOUT WITH (FORMAT csv)")
    for answer in (described, result):
        if answer.error:
            raise TransferError.from_result(answer)
    names = [column.name for column in described.columns]
    kinds = {column.name: _OIDS.get(column.oid, pa.string()) for column in described.columns}
    if not data:
        return pa.schema(list(kinds.items())).empty_table()
    return pa_csv.read_csv(
        io.BytesIO(data),
        pa_csv.ReadOptions(column_names=names),
        pa_csv.ParseOptions(newlines_in_values=True),
        pa_csv.ConvertOptions(
            column_types=kinds,
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            true_values=["t"],
            false_values=["f"],
        ),
    )
