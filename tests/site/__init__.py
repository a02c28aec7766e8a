"""The public site, page by page, without a database."""
