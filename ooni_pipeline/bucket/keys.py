"""The secret key of this pipeline: made once, never replaced."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from ooni_pipeline.bucket.manifest import whole_file
from ooni_pipeline.errors import BucketError


def id_key(path: Path) -> bytes:
    """The 32 bytes in ``path``, made when it is not there (mode 0400).

    With another key the same entry gets another id, so a lost key is restored from the backup, not made
    anew. Raises BucketError where the file holds something else.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with whole_file(path.with_name(f"{path.name}.{os.getpid()}")) as part:
            part.write_text(secrets.token_hex(32) + "\n", encoding="ascii")
            part.chmod(0o400)
        own = path.with_name(f"{path.name}.{os.getpid()}")
        try:
            os.link(own, path)
        except FileExistsError:
            pass  # another worker was first: its key it is
        finally:
            own.unlink()
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii"))
    except ValueError:
        key = b""
    if len(key) != 32:
        raise BucketError(f"{path} is not a key of this pipeline (64 hexadecimal digits)")
    return key
