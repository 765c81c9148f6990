"""Webhooks: where tenants want to be told of what happened, and what is still to be delivered.

An event is a row of the transaction in which it happened (`outbox.add_event`), and a gateway delivers it: at least
once, however many processes there are and whichever of them dies.
"""
