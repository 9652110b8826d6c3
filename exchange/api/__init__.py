"""The hub's own API: what TAXII has no words for, and the ledger as static files."""
