"""How synthesized audio leaves, pure: pacing, pausing, accounting for what was played."""
