"""What a training will take, before it is started: parameters, memory, GPUs, tokens, time and money. No torch."""
