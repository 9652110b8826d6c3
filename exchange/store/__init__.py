"""The only SQL: one contract, one file per engine."""
