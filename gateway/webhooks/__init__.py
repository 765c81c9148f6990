"""Telling addresses of events: what is sent, where it may go, and how it is tried until it is taken."""
