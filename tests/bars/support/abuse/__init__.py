"""What the bar `abuse` is made of: an installation, attacks on it, and another tenant that asks meanwhile."""
