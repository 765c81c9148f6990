"""Published versions as files that other programs read: a PEFT folder, a merged model, a GGUF file; and to a hub."""
