"""GitHub Actions: its two modes, and what both read from GitHub."""
