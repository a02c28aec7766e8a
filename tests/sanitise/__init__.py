"""What must not be public goes."""
