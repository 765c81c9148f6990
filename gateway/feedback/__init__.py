"""What tenants say of answers, on its way to the registry."""
