"""GitHub, both ways: the webhook, and its API as the App; it may import the store, jobs and what is
below them."""
