"""Everything is tested against real parts."""
