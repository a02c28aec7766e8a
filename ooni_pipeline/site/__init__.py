"""The public site around the published buckets: pages for people, indices for programs, no script at all."""
