"""The deliveries: what came from GitHub, what became of it, and what people request of it."""
