"""Arrow batches as Parquet files in S3, with the manifest that COPY reads. Memory stays flat whatever the size."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

from extract.errors import WarehouseError, in_words
from extract.settings import RedshiftSettings

PART_BYTES = 32 << 20
"""Files are closed once each has reached this size: large enough to scan well, and a few of them fit on any disk."""
ATTEMPTS = 8
"""So often is S3 asked, with growing pauses."""
GROUP_BYTES = 32 << 20
"""Rows are gathered to about this much (as Arrow holds them) before they are written: one Parquet row group."""


@dataclass
class Sent:
    """The files of one staging: their prefix, and what stands there."""

    prefix: str
    rows: int = 0
    entries: list[dict[str, Any]] = field(default_factory=list)

    @property
    def manifest(self) -> str:
        return f"{self.prefix}/manifest"


class S3Parts:
    """The bucket, as the loading path uses it."""

    def __init__(self, settings: RedshiftSettings):
        self._settings = settings
        self._client = _client(settings)

    def send(self, prefix: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Sent:
        """Writes the batches as files under a prefix (s3://bucket/…), then their manifest. Raises WarehouseError.

        Row groups go to the files in turn, to as many as the cluster has slices: each slice then reads as much as any
        other. On the disk there are never more than these, of about `PART_BYTES` each.
        """
        sent = Sent(prefix)
        with ThreadPoolExecutor(1) as pool:
            upload: Future[None] | None = None
            for number, (file, rows) in enumerate(_files(schema, batches, self._settings.slices)):
                address = f"{prefix}/part-{number:05d}.parquet"
                size = file.seek(0, 2)
                sent.entries.append({"url": address, "mandatory": True, "meta": {"content_length": size}})
                sent.rows += rows
                if upload:
                    upload.result()
                upload = pool.submit(self._put, address, file)
            if upload:
                upload.result()
        if sent.entries:
            manifest = tempfile.TemporaryFile()  # noqa: SIM115 - closed by _put
            manifest.write(json.dumps({"entries": sent.entries}, indent=1).encode())
            self._put(sent.manifest, manifest)
        return sent

    def region(self) -> str | None:
        """The region in which the bucket of the prefix stands; None where S3 does not tell it."""
        bucket = _bucket_and_key(self._settings.s3_prefix)[0]
        try:
            answer = self._client.head_bucket(Bucket=bucket)
        except _s3_errors() as error:  # who may not look into the bucket is told its region all the same
            answer = getattr(error, "response", {})
        found = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("x-amz-bucket-region")
        return None if found is None else str(found)

    def remove(self, sent: Sent) -> None:
        """Removes the files; one that stays is told to the log and does no harm."""
        addresses = [*(entry["url"] for entry in sent.entries), sent.manifest] if sent.entries else []
        try:
            for start in range(0, len(addresses), 1000):
                bucket = _bucket_and_key(sent.prefix)[0]
                keys = [{"Key": _bucket_and_key(address)[1]} for address in addresses[start : start + 1000]]
                answer = self._client.delete_objects(Bucket=bucket, Delete={"Objects": keys, "Quiet": True})
                if stay := answer.get("Errors"):  # S3 answers 200 all the same
                    words = f"{len(stay)} of them, the first with {stay[0].get('Code')} ({stay[0].get('Message')})"
                    _log_files_that_stay(sent, words)
        except _s3_errors() as error:
            _log_files_that_stay(sent, in_words(error))

    def _put(self, address: str, file: Any) -> None:
        bucket, key = _bucket_and_key(address)
        options = _encryption(self._settings)
        with file:
            file.seek(0)
            try:
                self._client.upload_fileobj(file, bucket, key, ExtraArgs=options, Config=_transfer())
            except _s3_errors() as error:
                raise WarehouseError(
                    f"{address} cannot be written: {in_words(error)}. Nothing of this table was landed. Check "
                    "REDSHIFT_S3_PREFIX and that this process may write and delete there, then run again."
                ) from error


def _log_files_that_stay(sent: Sent, why: str) -> None:
    logging.getLogger(__name__).warning("Files under %s could not be removed: %s", sent.prefix, why)


def put_object(address: str, data: bytes, content_type: str, settings: RedshiftSettings | None) -> None:
    """Writes one small object, s3://bucket/key, whole or not at all. Raises WarehouseError.

    Args:
        settings: Endpoint, region and key of encryption; without them (the gateway local) boto3 finds its own.
    """
    bucket, key = _bucket_and_key(address)
    try:
        client = _client(settings)
        client.put_object(Bucket=bucket, Key=key, Body=data, ContentType=content_type, **_encryption(settings))
    except _s3_errors() as error:
        raise WarehouseError(f"{address} cannot be written: {in_words(error)}") from error


def _files(schema: pa.Schema, batches: Iterable[pa.RecordBatch], slices: int) -> Iterator[tuple[Any, int]]:
    """Parquet files (temporary, open) with their row counts; none without rows.

    A full round has `slices` files of about the same size; few rows come in fewer.
    """
    writing: list[_Part] = []
    turn = 0
    try:
        for group in _row_groups(batches):
            if turn == len(writing):
                writing.append(_Part(schema))
            writing[turn].write(group)
            turn = (turn + 1) % slices
            if turn == 0 and writing[-1].size >= PART_BYTES:
                while writing:
                    yield writing.pop(0).finish()
        while writing:
            yield writing.pop(0).finish()
    finally:
        for part in writing:
            part.close()


def _row_groups(batches: Iterable[pa.RecordBatch]) -> Iterator[list[pa.RecordBatch]]:
    """The batches that have rows, gathered to about `GROUP_BYTES`."""
    waiting: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        if batch.num_rows:
            waiting.append(batch)
            size += batch.nbytes
        if size >= GROUP_BYTES:
            yield waiting
            waiting, size = [], 0
    if waiting:
        yield waiting


class _Part:
    """One file while it is written."""

    def __init__(self, schema: pa.Schema):
        self.rows = 0
        self._schema = schema
        self._file: Any = tempfile.TemporaryFile()  # noqa: SIM115 - it outlives this method
        self._writer = pq.ParquetWriter(self._file, schema, compression="snappy", store_schema=False)

    @property
    def size(self) -> int:
        return int(self._file.tell())

    def write(self, batches: Sequence[pa.RecordBatch]) -> None:
        rows = sum(batch.num_rows for batch in batches)
        self._writer.write_table(pa.Table.from_batches(batches, self._schema), row_group_size=rows)
        self.rows += rows

    def finish(self) -> tuple[Any, int]:
        """The file, which from now on belongs to the caller, and its rows."""
        self._writer.close()
        file, self._file = self._file, None
        return file, self.rows

    def close(self) -> None:
        if self._file is not None:
            with suppress(Exception):  # of a disk that is full, say; the error that led here is told
                self._writer.close()
            with suppress(OSError):
                self._file.close()


def _encryption(settings: RedshiftSettings | None) -> dict[str, str]:
    """By the key that is set, otherwise by S3's own."""
    if settings and settings.s3_kms_key:
        return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": settings.s3_kms_key}
    return {"ServerSideEncryption": "AES256"}


def _client(settings: RedshiftSettings | None) -> Any:
    """A client that tries again, with growing pauses; its keys come from where boto3 finds them."""
    import boto3
    from botocore.config import Config

    config = Config(
        retries={"mode": "standard", "max_attempts": ATTEMPTS}, connect_timeout=10, read_timeout=60, tcp_keepalive=True
    )
    where = {"endpoint_url": settings.s3_endpoint_url, "region_name": settings.region} if settings else {}
    return boto3.Session().client("s3", config=config, **where)


def _transfer() -> Any:
    from boto3.s3.transfer import TransferConfig

    return TransferConfig(multipart_threshold=16 << 20, multipart_chunksize=16 << 20, max_concurrency=4)


def _s3_errors() -> tuple[type[Exception], ...]:
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    return BotoCoreError, ClientError, Boto3Error


def _bucket_and_key(address: str) -> tuple[str, str]:
    parts = urlsplit(address)
    return parts.netloc, parts.path.lstrip("/")
