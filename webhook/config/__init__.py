"""deploy.yml: reading, checking, routing; it may import deployments, errors, text and handlers."""
