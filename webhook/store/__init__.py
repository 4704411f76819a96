"""All SQL of the relay, one module a table group. Transactions are the callers' to open."""
