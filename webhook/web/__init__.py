"""What browsers and load balancers get: pages, their live updates, probes."""
