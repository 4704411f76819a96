"""The endpoint with the shape of GitHub's API to which tools report."""
