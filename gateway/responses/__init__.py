"""The state of Responses in one gateway process: what is kept, recalled, and made in the background.

Nothing of it is on an engine, and nothing but the database has it when a process ends. `archive.py` is what others
work with: `writer.py` stores answers in groups, `lookups.py` reads beside the event loop, `runs.py` knows what is made
in the background here.
"""
