"""One deployment: its phases, gates, output, record, and what its viewer may do with it."""
