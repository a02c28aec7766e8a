"""Moving files between machines: fetch, backup, restore, publish. Plans are pure, clients are passed in."""
