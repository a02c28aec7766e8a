"""Where a bucket lies and how a stage proves that it is done with it."""
