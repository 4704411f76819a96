"""GitHub: its webhook deliveries, and its API as the App."""
