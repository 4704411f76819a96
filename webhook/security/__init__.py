"""Signed links, report tokens, encryption of stored tokens; it imports no other room."""
