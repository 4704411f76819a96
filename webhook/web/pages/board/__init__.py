"""The board: what is where, and what waits for its viewer."""
