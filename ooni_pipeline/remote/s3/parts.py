"""Large objects, in parts: each part with its SHA-256, and the whole with that of all of these."""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from ooni_pipeline.errors import TransferError
from ooni_pipeline.remote.s3.objects import b64

_MB = 1024 * 1024
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
            data = file.read(min(part_size, left))
            if not data:
                raise TransferError(f"{whose['Key']} became shorter while it was stored; run it again")
            left -= len(data)
            digest = hashlib.sha256(data).digest()
            number = len(parts) + 1
            answer = client.upload_part(
                Body=io.BytesIO(data), PartNumber=number, ChecksumSHA256=b64(digest), **whose
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
