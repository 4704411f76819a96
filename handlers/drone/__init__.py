"""Drone CI 2."""
