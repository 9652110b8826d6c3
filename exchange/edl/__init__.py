"""Block lists: what a member's firewalls, resolvers and SIEMs fetch when they do not speak TAXII."""
