"""How many tokens a baseline counts for each of ours, from prompts that both were asked: dated, and never changed."""
