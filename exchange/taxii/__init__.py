"""The TAXII 2.1 face of the hub: queries and cursors in, resources out."""
