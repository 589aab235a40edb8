"""What Redis makes faster. Losing any of it answers no question wrongly."""
