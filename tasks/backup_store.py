"""The store that [backup] of luigi.cfg describes: a directory or a bucket of S3, encrypted or not."""

from __future__ import annotations

import ipaddress
import logging
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from ooni_pipeline.bucket.layout import Layout
from ooni_pipeline.errors import ConfigurationError
from ooni_pipeline.remote import age
from ooni_pipeline.transfer.object_store import ObjectStore
from ooni_pipeline.transfer.sealed import ENDING, Seal, SealedStore
from ooni_pipeline.transfer.stored import key_of
from ooni_pipeline.transfer.stores import DirectoryStore, Store

logger = logging.getLogger("luigi-interface")

#: What [backup] server_side_encryption calls it to ask for none.
NONE = "none"
#: Limits that are no mistake: threads, tries of one request, seconds.
_LIMITS = {"connections": (1, 100), "attempts": (1, 20), "timeout": (1, 3600)}


def make_store(options: Any, layout: Layout) -> Store:
    """The store. Raises ConfigurationError, which names the option. Asks nobody yet."""
    for option, (least, most) in _LIMITS.items():
        if not least <= int(getattr(options, option)) <= most:
            raise ConfigurationError(f"luigi.cfg: [backup] {option} is not between {least} and {most}")
    try:
        keys = age.recipients(options.encrypt_to)
    except ConfigurationError as error:
        raise ConfigurationError(f"luigi.cfg: [backup] encrypt_to: {error}") from None
    identity = Path(options.identity) if options.identity else None
    if identity is not None and not identity.is_absolute():
        raise ConfigurationError("luigi.cfg: [backup] identity is no absolute path of a file")
    seal = Seal(
        encrypt=partial(age.encrypt, keys=keys) if keys else None,
        decrypt=partial(age.decrypt, identity=identity) if identity else None,
    )
    ending = ENDING if keys else ""
    inner = _place(options, key_of(layout, layout.id_key()) + ending, encrypted=bool(keys))
    return SealedStore(inner, seal, layout.sealing())


def _place(options: Any, secret: str, *, encrypted: bool) -> Store:
    url = str(options.url)
    parts = urlsplit(url)
    if parts.scheme in ("", "file") and not parts.netloc and parts.path.startswith("/"):
        return DirectoryStore(Path(parts.path))
    bucket = parts.netloc
    if parts.scheme != "s3" or not bucket or "@" in bucket or ":" in bucket or parts.query or parts.fragment:
        shown = repr(url) if "@" not in url and "://" not in url else url.partition("://")[0] + "://…"
        raise ConfigurationError(
            f"luigi.cfg: [backup] url: {shown} is no absolute directory and no s3://bucket/prefix"
        )
    from ooni_pipeline.remote.s3 import Bucket  # boto3 takes a quarter of a second to import

    endpoint = str(options.endpoint_url)
    _check_endpoint(endpoint, encrypted=encrypted)
    prefix = parts.path.strip("/")
    client = Bucket(
        bucket,
        endpoint_url=endpoint,
        region=options.region,
        encryption="" if options.server_side_encryption == NONE else options.server_side_encryption,
        storage_class=options.storage_class,
        connections=options.connections,
        attempts=options.attempts,
        timeout=options.timeout,
    )
    return ObjectStore(client, f"{prefix}/" if prefix else "", secret, logger.warning)


def _check_endpoint(url: str, *, encrypted: bool) -> None:
    """Raw reports do not cross a network in the clear."""
    if not url:
        return
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise ConfigurationError(
            "luigi.cfg: [backup] endpoint_url is no https:// URL of an S3 server "
            "(credentials do not go into it)"
        )
    if parts.scheme == "http" and not encrypted and not _is_here(parts):
        raise ConfigurationError(
            "luigi.cfg: [backup] endpoint_url is http:// on another machine: raw reports would cross the "
            "network in the clear. Use https://, or set [backup] encrypt_to"
        )


def _is_here(parts: SplitResult) -> bool:
    try:
        return parts.hostname == "localhost" or ipaddress.ip_address(str(parts.hostname)).is_loopback
    except ValueError:
        return False
