"""Receivers to compare with: each verifies the SHA-256 signature and responds with 2xx; none but
`flask-commit-each` stores anything."""
