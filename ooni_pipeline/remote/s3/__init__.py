"""One bucket of an S3 endpoint, whoever runs it: Amazon, Ceph, MinIO, SeaweedFS and others."""

from ooni_pipeline.remote.s3.bucket import Bucket
from ooni_pipeline.remote.s3.objects import Object

__all__ = ["Bucket", "Object"]
