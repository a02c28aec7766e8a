"""Real parts that tests start on loopback: an sshd, an S3 server, a web server."""
