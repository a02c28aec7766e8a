"""What runs on the collector machine."""
