"""Sharing agreements: what they say, and the one function that judges by them. Pure: no file, clock or socket."""
