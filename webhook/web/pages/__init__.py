"""The pages for people: a view of each, and what it shows as plain data."""
