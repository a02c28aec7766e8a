"""Outside services, with nothing of ours in them: ssh, rsync, S3."""
