"""Models that are asked over HTTP, by any endpoint of OpenAI's or Anthropic's shape: the one client that we have.

endpoint.py (where, and with which key) → client.py (asks: bounded, with retries, and counting) → at_once.py (several)
"""
