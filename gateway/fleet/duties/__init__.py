"""What the fleet's leader does again and again, one file each: a duty is a name, when it is due, and what is done.

`gateway.fleet.controller` lists them in the order in which a round does them; `rounds.py` runs them under the term.
Adding one is a file here and a line there. What answers a worker at once (loads, lending of shared limits) is no duty:
`gateway.fleet.requests` does it as it comes.
"""
