"""What goes out: GitHub as the App, and Slack."""
