"""The page of one deployment."""
