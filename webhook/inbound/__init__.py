"""What comes in over HTTP, one blueprint for each caller."""
