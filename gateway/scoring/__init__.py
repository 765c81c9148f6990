"""What is found in sampled answers.

    loop     tap: an engine's bytes, by reference ─▶ offer: a bounded queue, after the last byte
    thread   frames ─▶ child: parse, look, check ─▶ findings ─▶ outcomes

The child (`child.py`) runs tenants' patterns and schemas: it is told nothing else of anybody's, has no secrets, and is
ended when it takes too long. It runs while there is something to look at.
"""
