"""Everything the hub holds, derived again from bodies to roots; nothing is written."""
