"""Fine-tuning jobs as tenants order them: what a body may say, what can be trained on, and what goes wrong."""
