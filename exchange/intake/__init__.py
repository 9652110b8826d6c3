"""The one way in."""
