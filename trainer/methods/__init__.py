"""How weights are trained: one `train` for every method and kind of tuning, by TRL and PEFT, on GPU or CPU."""
