"""What the relay is configured with: deploy.yml, its environments, the settings."""
