"""Large objects, in parts: each part with its SHA-256, and the whole with that of all of these."""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from ooni_pipeline.errors import TransferError
from ooni_pipeline.remote.s3.objects import b64, size_and_digest

#: S3 takes no more.
_MOST_PARTS = 10_000


def put_in_parts(
    client: Any, file: BinaryIO, size: int, part_size: int, options: Mapping[str, Any]
) -> dict[str, Any]:
    """Upload a file of ``size`` bytes in parts. Whatever goes wrong, no half object and no parts are left.

    Returns what the server answers. Raises TransferError where it knows another digest of the whole.
    """
    whose = {"Bucket": options["Bucket"], "Key": options["Key"]}
    part_size = max(part_size, -(-size // _MOST_PARTS))
    begun = client.create_multipart_upload(ChecksumAlgorithm="SHA256", **options)
    whose["UploadId"] = begun["UploadId"]
    try:
        parts: list[dict[str, Any]] = []
        digests, left = hashlib.sha256(), size
        while left:
            part = _Part(file, size - left, min(part_size, left))
            length, digest = size_and_digest(part)
            if length != part.size:
                raise TransferError(f"{whose['Key']} became shorter while it was stored; run it again")
            left -= length
            part.seek(0)
            number = len(parts) + 1
            answer = client.upload_part(
                Body=part, ContentLength=length, PartNumber=number, ChecksumSHA256=b64(digest), **whose
            )
            parts.append({"PartNumber": number, "ETag": answer["ETag"], "ChecksumSHA256": b64(digest)})
            digests.update(digest)
        answer = client.complete_multipart_upload(
            MultipartUpload={"Parts": parts}, MpuObjectSize=size, **whose
        )
    except BaseException:
        with contextlib.suppress(ClientError, BotoCoreError, HTTPClientError):  # else the next sweep ends it
            client.abort_multipart_upload(**whose)
        raise
    known = str(answer.get("ChecksumSHA256", "")).partition("-")[0]
    if known not in ("", b64(digests.digest())):
        raise TransferError(f"{whose['Key']} did not arrive as it was sent; run it again")
    return dict(answer)


class _Part(io.RawIOBase):
    """So many bytes of a file from ``start`` on, as a file of their own: a part is never in memory whole."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        self._file, self._start, self.size, self._at = file, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        self._file.seek(self._start + self._at)
        data = self._file.read(max(0, min(len(buffer), self.size - self._at)))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def sweep_uploads(client: Any, bucket: str, prefix: str) -> int:
    """End every upload in parts below a prefix. Returns how many."""
    uploads = list(_uploads(client, bucket, prefix))
    for upload in uploads:
        client.abort_multipart_upload(Bucket=bucket, **upload)
    return len(uploads)


def _uploads(client: Any, bucket: str, prefix: str) -> Iterator[dict[str, str]]:
    more: dict[str, str] = {}
    while True:
        page = client.list_multipart_uploads(Bucket=bucket, Prefix=prefix, **more)
        for upload in page.get("Uploads", ()):
            yield {"Key": upload["Key"], "UploadId": upload["UploadId"]}
        following = {
            "KeyMarker": page.get("NextKeyMarker", ""),
            "UploadIdMarker": page.get("NextUploadIdMarker", ""),
        }
        if not page.get("IsTruncated") or following == more or not following["KeyMarker"]:
            return
        more = following
