"""What the rooms that speak HTTP share: a route as data, bodies in, bodies and errors out, where this site is."""
