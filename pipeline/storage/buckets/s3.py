"""Buckets of S3, and of other stores with its protocol.

This module needs Beam and boto3. It is imported only for an s3:// URL.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from apache_beam.io.aws.clients.s3 import boto3_client
from apache_beam.options.pipeline_options import PipelineOptions, S3Options
from botocore import exceptions

from pipeline import contract
from pipeline.storage import buckets

# The client retries only until the response begins. These errors may come later.
_CUT_OFF = (
    exceptions.IncompleteReadError,
    exceptions.ReadTimeoutError,
    exceptions.ResponseStreamingError,
)
_NO_CREDENTIALS = (
    exceptions.NoCredentialsError,
    exceptions.PartialCredentialsError,
    exceptions.ProfileNotFound,
)


def open_bucket(url: str, name: str, beam_flags: Sequence[str]) -> buckets.Bucket:
    """Opens a bucket.

    Args:
        url: URL of the bucket, for error messages.
        name: Name of the bucket.
        beam_flags: Beam's flags, such as --s3_endpoint_url. Other settings come from
            the environment.

    Raises:
        DatasetError: If the client cannot be configured with these flags.
    """
    options = PipelineOptions(list(beam_flags))
    endpoint = options.view_as(S3Options).s3_endpoint_url
    if endpoint and not endpoint.startswith(("http://", "https://")):
        # The error omits the value, which may hold a password.
        raise contract.DatasetError(
            "--s3_endpoint_url begins with neither http:// nor https://: give the "
            "whole URL, such as http://127.0.0.1:9000"
        )
    try:
        client = boto3_client.Client(options).client
    except (exceptions.BotoCoreError, ValueError) as error:
        raise contract.DatasetError(f"cannot use {url}: {error}") from error
    return _Bucket(url, name, client)


class _Bucket(buckets.Bucket):
    def __init__(self, url: str, name: str, client: Any) -> None:
        super().__init__(url)
        self._name = name
        self._client = client

    def read(self, key: str, start: int = 0, end: int | None = None) -> bytes:
        what = {"Bucket": self._name, "Key": key}
        if start or end is not None:
            what["Range"] = f"bytes={start}-{'' if end is None else end - 1}"
        with self._explained(key):
            try:
                return self._client.get_object(**what)["Body"].read()
            except _CUT_OFF:
                return self._client.get_object(**what)["Body"].read()
            except exceptions.ClientError as error:
                # The range begins at the end of the file, or after it.
                if error.response["Error"]["Code"] == "InvalidRange":
                    return b""
                raise

    def write(self, key: str, data: bytes) -> None:
        with self._explained(key):
            self._client.put_object(Bucket=self._name, Key=key, Body=data)

    def upload(self, path: str, key: str) -> None:
        with open(path, "rb") as file, self._explained(key):
            self._client.upload_fileobj(file, self._name, key)

    def find(self, key: str) -> buckets.Entry | None:
        try:
            with self._explained(key):
                head = self._client.head_object(Bucket=self._name, Key=key)
        except FileNotFoundError:
            return None
        modified_ns = buckets.in_ns(head["LastModified"])
        return buckets.Entry(key, head["ContentLength"], modified_ns)

    def list_entries(self, prefix: str, delimiter: str = "") -> Iterator[buckets.Entry]:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._name, Prefix=prefix, Delimiter=delimiter
        )
        with self._explained(prefix, is_file=False):
            for page in pages:
                for item in page.get("CommonPrefixes", ()):
                    name = item["Prefix"].removeprefix(prefix).removesuffix(delimiter)
                    yield buckets.Entry(name, is_directory=True)
                for item in page.get("Contents", ()):
                    yield buckets.Entry(
                        item["Key"].removeprefix(prefix),
                        item["Size"],
                        buckets.in_ns(item["LastModified"]),
                    )

    def remove(self, key: str) -> None:
        with self._explained(key):
            self._client.delete_object(Bucket=self._name, Key=key)

    @contextlib.contextmanager
    def _explained(self, key: str, *, is_file: bool = True) -> Iterator[None]:
        try:
            yield
        except exceptions.ClientError as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            if error.response["Error"]["Code"] == "NoSuchBucket":
                raise self.no_bucket() from error
            if status == 404 and is_file:
                raise self.absent(key) from error
            if status in (401, 403):
                raise self.no_access(key, error) from error
            raise self.failed(key, error) from error
        except _NO_CREDENTIALS as error:
            raise contract.DatasetError(
                f"no credentials for {self.url}: set AWS_ACCESS_KEY_ID and "
                f"AWS_SECRET_ACCESS_KEY, or AWS_PROFILE ({error})"
            ) from error
        except exceptions.BotoCoreError as error:
            raise self.failed(key, error) from error
