"""One environment: what is there, waits and holds, and previews of what people may request."""
