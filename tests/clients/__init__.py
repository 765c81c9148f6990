"""What docs/clients.md shows, run as it stands."""
