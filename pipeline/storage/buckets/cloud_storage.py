"""Buckets of Google Cloud Storage.

This module needs Beam and Google's client. It is imported only for a gs:// URL.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Any

import google.auth
import requests
from apache_beam.io.gcp import gcsio
from apache_beam.options.pipeline_options import PipelineOptions
from google.api_core import exceptions
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError
from google.cloud import storage
from google.cloud.storage.exceptions import DataCorruption

from pipeline import contract
from pipeline.storage import buckets

# Size of an upload's chunks; the client's default holds 100 MiB in memory.
_CHUNK_BYTES = 8 << 20

_REFUSALS = (exceptions.Unauthorized, exceptions.Forbidden, GoogleAuthError)
_FAILURES = (exceptions.GoogleAPIError, requests.RequestException, DataCorruption)


def open_bucket(url: str, name: str, beam_flags: Sequence[str]) -> buckets.Bucket:
    """Opens a bucket.

    Args:
        url: URL of the bucket, for error messages.
        name: Name of the bucket.
        beam_flags: Beam's flags, such as --impersonate_service_account.

    Raises:
        DatasetError: If the client cannot be configured with these flags.
    """
    is_anonymous = not _has_credentials()
    try:
        client = gcsio.create_storage_client(
            PipelineOptions(list(beam_flags)), use_credentials=not is_anonymous
        )
    except (GoogleAuthError, ValueError) as error:
        raise contract.DatasetError(f"cannot use {url}: {error}") from error
    return _Bucket(url, client.bucket(name), is_anonymous=is_anonymous)


def _has_credentials() -> bool:
    """Returns whether there are credentials.

    If there are none, Beam's own search for them takes half a minute.
    """
    if "STORAGE_EMULATOR_HOST" in os.environ:
        return False
    try:
        google.auth.default()
    except DefaultCredentialsError:
        return False
    return True


class _Bucket(buckets.Bucket):
    def __init__(self, url: str, bucket: storage.Bucket, *, is_anonymous: bool) -> None:
        super().__init__(url)
        self._bucket = bucket
        self._is_anonymous = is_anonymous

    def read(self, key: str, start: int = 0, end: int | None = None) -> bytes:
        last = None if end is None else end - 1
        with self._explained(key):
            try:
                # Raw: a file that is stored compressed stays compressed.
                return self._bucket.blob(key).download_as_bytes(
                    start=start, end=last, raw_download=True
                )
            except exceptions.RequestRangeNotSatisfiable:
                return b""  # The range begins at the end of the file, or after it.

    def write(self, key: str, data: bytes) -> None:
        with self._explained(key):
            self._bucket.blob(key).upload_from_string(data, "application/octet-stream")

    def upload(self, path: str, key: str) -> None:
        with self._explained(key):
            blob = self._bucket.blob(key, chunk_size=_CHUNK_BYTES)
            blob.upload_from_filename(path)

    def find(self, key: str) -> buckets.Entry | None:
        blob = self._bucket.blob(key)
        try:
            with self._explained(key):
                blob.reload()
        except FileNotFoundError:
            return None
        return _entry(blob)

    def list_entries(self, prefix: str, delimiter: str = "") -> Iterator[buckets.Entry]:
        with self._explained(prefix, is_file=False):
            blobs = self._bucket.list_blobs(prefix=prefix, delimiter=delimiter or None)
            for page in blobs.pages:
                for name in sorted(page.prefixes):
                    name = name.removeprefix(prefix).removesuffix(delimiter)
                    yield buckets.Entry(name, is_directory=True)
                for blob in page:
                    yield _entry(blob, prefix)

    def remove(self, key: str) -> None:
        with contextlib.suppress(FileNotFoundError), self._explained(key):
            self._bucket.blob(key).delete()

    @contextlib.contextmanager
    def _explained(self, key: str, *, is_file: bool = True) -> Iterator[None]:
        try:
            yield
        except exceptions.NotFound as error:
            raise (self.absent(key) if is_file else self.no_bucket()) from error
        except _REFUSALS as error:
            if not self._is_anonymous:
                raise self.no_access(key, error) from error
            raise contract.DatasetError(
                f"no credentials for {self.url}: run gcloud auth application-default "
                "login, or set GOOGLE_APPLICATION_CREDENTIALS"
            ) from error
        except _FAILURES as error:
            raise self.failed(key, error) from error


def _entry(blob: Any, prefix: str = "") -> buckets.Entry:
    name = blob.name.removeprefix(prefix)
    return buckets.Entry(name, blob.size, buckets.in_ns(blob.updated))
