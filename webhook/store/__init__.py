"""All SQL of the relay, a module for each table; callers open the transactions. It may import
`deployments`, settings and what is below them."""
