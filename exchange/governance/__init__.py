"""Who takes part and by which rules: each change an act with its entry."""
