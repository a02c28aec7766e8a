"""Objects of one bucket: put, read, listed, erased, each checked by its SHA-256."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from ooni_pipeline.errors import TransferError
from ooni_pipeline.remote.s3.faults import code_of, told
from ooni_pipeline.remote.s3.objects import DIGEST, Object, b64, digest_of, etag_of, size_and_digest
from ooni_pipeline.remote.s3.parts import put_in_parts, sweep_uploads
from ooni_pipeline.remote.s3.versions import Gone, erase_versions

MB = 1024 * 1024
_MISSING = ("404", "NoSuchKey", "NotFound")


class Bucket:
    """One bucket. The keys come from where boto3 looks for them: the environment, ~/.aws, the machine's role.

    Several threads may use it. Every method raises TransferError, whose text names endpoint, bucket and key.
    A request that fails for a while (500, 503 SlowDown, a connection that breaks) is made again, ``attempts``
    times in all, after longer and longer pauses. ``timeout`` is in seconds, ``part_size`` in bytes.
    """

    def __init__(
        self,
        name: str,
        *,
        endpoint_url: str = "",
        region: str = "",
        encryption: str = "AES256",
        storage_class: str = "",
        connections: int = 8,
        attempts: int = 6,
        timeout: int = 60,
        part_size: int = 64 * MB,
    ) -> None:
        self.name = name
        self._where = f"backup {endpoint_url or 'Amazon S3'}, bucket {name}"
        self._part_size, self._attempts = part_size, attempts
        self._options: dict[str, Any] = {
            "max_pool_connections": connections,
            "connect_timeout": min(timeout, 15),
            "read_timeout": timeout,
            "retries": {"mode": "standard", "total_max_attempts": attempts},
            # An endpoint of one's own has no DNS name for each bucket, and cares for no region.
            "s3": {"addressing_style": "path" if endpoint_url else "auto"},
        }
        self._place = {
            "endpoint_url": endpoint_url or None,
            "region_name": region or ("us-east-1" if endpoint_url else None),
        }
        self._with = {"ServerSideEncryption": encryption, "StorageClass": storage_class}
        self._with = {option: value for option, value in self._with.items() if value}
        with told(self._where, "begin"):
            self._session = boto3.session.Session()
            self._client: Any = self._made(Config(**self._options))

    def put(self, key: str, path: Path) -> Object:
        """Store a file. The server computes the SHA-256 of what arrives and takes nothing but what was read
        here. A file larger than a part goes in parts, each checked so; it is there whole or not at all."""
        options: dict[str, Any] = {
            "Bucket": self.name,
            "Key": key,
            "ContentType": "application/octet-stream",
            **self._with,
        }
        with path.open("rb") as file, told(self._where, f"store {key}"):
            size, digest = size_and_digest(file)
            options["Metadata"] = {DIGEST: digest.hex()}
            file.seek(0)
            if size > self._part_size:
                answer = put_in_parts(self._client, file, size, self._part_size, options)
            else:
                answer = self._client.put_object(
                    Body=file, ContentLength=size, ChecksumSHA256=b64(digest), **options
                )
                if answer.get("ChecksumSHA256", b64(digest)) != b64(digest):
                    raise TransferError(f"{self._where}: {key} did not arrive as it was sent; run it again")
        return Object(key, size, etag_of(answer), digest.hex())

    def get(self, key: str, path: Path) -> None:
        """Write an object's bytes to ``path``. A connection that breaks in the middle goes on from there.

        Raises TransferError, and leaves no file, where they are not those whose SHA-256 the object has.
        """
        found = self.head(key)
        if found is None:
            raise TransferError(f"{self._where}: there is no {key}")
        try:
            with path.open("wb") as file:
                digest = hashlib.sha256()
                for attempt in range(self._attempts):
                    try:
                        with told(self._where, f"read {key}"):
                            for chunk in self._chunks(found, file.tell()):
                                file.write(chunk)
                                digest.update(chunk)
                        break
                    except TransferError:
                        if attempt + 1 == self._attempts:
                            raise
                whole = file.tell() == found.size
            if not whole or digest.hexdigest() != (found.sha256 or digest.hexdigest()):
                raise TransferError(f"{self._where}: {key} does not come back as it was stored")
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def _chunks(self, found: Object, start: int) -> Iterator[bytes]:
        if start >= found.size:
            return
        answer = self._client.get_object(
            Bucket=self.name, Key=found.key, Range=f"bytes={start}-", IfMatch=f'"{found.etag}"'
        )
        yield from answer["Body"].iter_chunks(MB)

    def head(self, key: str) -> Object | None:
        """What the server says of an object without reading it; None where there is none."""
        with told(self._where, f"look for {key}"):
            try:
                answer = self._client.head_object(Bucket=self.name, Key=key, ChecksumMode="ENABLED")
            except ClientError as error:
                if code_of(error) in _MISSING:
                    return None
                raise
        return Object(key, int(answer["ContentLength"]), etag_of(answer), digest_of(answer))

    def list(self, prefix: str) -> Iterator[Object]:
        """Every object whose key begins with ``prefix``. A listing that ends before its end is an error."""
        more: dict[str, str] = {}
        seen: set[str] = set()
        while True:
            with told(self._where, f"list {prefix}"):
                page = self._client.list_objects_v2(Bucket=self.name, Prefix=prefix, **more)
            for item in page.get("Contents", ()):
                yield Object(str(item["Key"]), int(item["Size"]), etag_of(item))
            if not page.get("IsTruncated"):
                return
            token = str(page.get("NextContinuationToken", ""))
            if not token or token in seen:
                raise TransferError(
                    f"{self._where}: the listing of {prefix} stops in its middle; what it leaves out must "
                    "not be taken for missing. Run it again"
                )
            seen.add(token)
            more = {"ContinuationToken": token}

    def erase(self, key: str) -> Gone:
        """Delete every version and delete marker of one object. Retention is never bypassed."""
        with told(self._where, f"delete {key}"):
            return erase_versions(self._client, self.name, key)

    def sweep(self, prefix: str) -> int:
        """End what uploads in parts left below ``prefix`` when they died: they are paid for and not seen.
        Call it where nobody else uploads. Returns how many there were; none where the server does not know
        uploads or does not let us look for them, which costs no more than their room."""
        with told(self._where, f"end old uploads below {prefix}"):
            try:
                return sweep_uploads(self._client, self.name, prefix)
            except ClientError as error:
                if code_of(error) in ("AccessDenied", "NotImplemented"):
                    return 0
                raise

    def exposed(self, key: str) -> tuple[str, tuple[str, ...]]:
        """Whether others may look into the bucket: how, or empty; and what could not be asked of whom.

        It asks for the policy and the access list, and then does what a stranger would: without keys it asks
        for the listing, and for the one object ``key``.
        """
        unknown = []
        try:
            status = self._client.get_bucket_policy_status(Bucket=self.name)
            if status.get("PolicyStatus", {}).get("IsPublic"):
                return "its policy makes it public", ()
        except (ClientError, BotoCoreError, HTTPClientError) as error:
            if code_of(error) != "NoSuchBucketPolicy":
                unknown.append("its policy")
        try:
            grants = self._client.get_bucket_acl(Bucket=self.name).get("Grants", ())
            uris = [str(grant.get("Grantee", {}).get("URI", "")) for grant in grants]
            if any(uri.endswith(("/AllUsers", "/AuthenticatedUsers")) for uri in uris):
                return "its access list names everybody", ()
        except (ClientError, BotoCoreError, HTTPClientError):
            unknown.append("its access list")
        stranger = self._made(Config(**{**self._options, "signature_version": UNSIGNED}))
        questions: tuple[tuple[str, Callable[[], Any]], ...] = (
            ("it lists its objects to everybody", lambda: stranger.list_objects_v2(Bucket=self.name)),
            (f"everybody can read {key}", lambda: stranger.head_object(Bucket=self.name, Key=key)),
        )
        for what, ask in questions:
            try:
                ask()
            except ClientError:
                continue
            except (BotoCoreError, HTTPClientError):
                unknown.append("what a stranger sees")
            else:
                return what, ()
        return "", tuple(unknown)

    def _made(self, config: Config) -> Any:
        return self._session.client("s3", config=config, **self._place)
