"""Who may speak for whom: keys, certificates, object signatures, the trust list, and the strict JSON under them."""
