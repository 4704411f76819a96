"""What a deployment is: plain data and decisions, no I/O; it may import text and errors."""
