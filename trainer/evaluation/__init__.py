"""How good an adapter is: in the training itself (`in_training.py`), and through the gateway's own endpoint against the
version in production.
"""
