"""Spinnaker, through Gate."""
