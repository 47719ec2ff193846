"""Third step: shards, each a task of its own, committed one by one."""
