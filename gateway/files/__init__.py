"""Tenants' files on their way in and out: forms, places, and threads that parse, seal and store them.

The event loop only takes what has come and hands it over, a megabyte at a time. Each tenant has a few places for what
is under way, and at most half of the threads.
"""
