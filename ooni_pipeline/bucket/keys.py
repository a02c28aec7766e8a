"""The secret key of this pipeline: made once, never replaced."""

from __future__ import annotations

import secrets
from pathlib import Path

from ooni_pipeline.bucket.files import whole_file
from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.bucket.lock import one_writer
from ooni_pipeline.errors import BucketError

_BYTES = 32


def id_key(path: Path) -> bytes:
    """The 32 bytes in ``path`` (:meth:`Layout.id_key`), made when there is none (mode 0400).

    With another key the same entry gets another id. So a key that was lost is brought back from the
    backup, not made anew: raises BucketError where buckets are proven already and the key is not there,
    and where the file holds something else.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with one_writer(path.with_name(f".{path.name}.lock")):
            if not path.exists():  # else another worker was first: its key it is
                _make(path)
    return read_key(path)


def read_key(path: Path) -> bytes:
    """The key in a file that is there. Raises BucketError where it holds none."""
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii"))
    except OSError as error:
        raise BucketError(f"{path}, the key of ids, cannot be read: {error.strerror}") from None
    except ValueError:
        key = b""
    if len(key) != _BYTES:
        raise BucketError(f"{path} is not a key of this pipeline ({2 * _BYTES} hexadecimal digits)")
    return key


def _make(path: Path) -> None:
    private = path.parents[1]
    if Layout(private, private).manifest_dates(Stage.RAW):
        raise BucketError(
            f"{path} is gone, but buckets were proven with it: with another key every measurement would get "
            "another id. Copy keys/id.key back from the backup"
        )
    with whole_file(path) as part:
        part.write_text(secrets.token_hex(_BYTES) + "\n", encoding="ascii")
        part.chmod(0o400)
