"""Outside sources as ordinary members: an adapter says where and what, the runner does the rest through the client."""
