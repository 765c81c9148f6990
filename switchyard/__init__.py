"""The `switchyard` command: what it asks and prints. What it does is done in the other rooms."""

from switchyard.command_line import main

__all__ = ["main"]
