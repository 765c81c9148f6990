"""Deleting a tenant, with all that is its own.

First one transaction in which there is no such tenant any more: keys, names and limits go, whatever decides or moves
ends, jobs are cancelled. Then what it leaves is removed in short transactions, by whoever comes first: the command,
or the leader, which goes on where another one was killed. The books stay (usage, tariffs, certificates, decisions,
moves of aliases), with the tenant's row, so that nobody gets its name again.
"""
