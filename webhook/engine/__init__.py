"""What the worker does with a deployment, whatever its tool, and whoever is to hear of it."""
