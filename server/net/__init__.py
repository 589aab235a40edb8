"""What leaves the house, and what is signed."""
