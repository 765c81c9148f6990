"""How weights are trained: one `train` for every method and kind of tuning, by TRL and PEFT, on GPU or CPU."""

import logging

# It advises a package that would fetch compiled kernels from a hub, at every start and whatever is trained.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
