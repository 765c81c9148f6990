"""All that is known of vLLM (0.31 to 0.33); `kind.py` has it in one object, `quirks.py` its defects."""
