"""What a version must have shown before an alias may point at it.

A gate is set for one alias of an adapter: a target metric on which the candidate must be better than what the alias
points at, by so much, and guards on which it may be worse by so much at most. An evaluation is written down as a
certificate: a document whose digest is its name, bound to the bytes of the candidate, those of the incumbent, the
evaluation set, the base and the gate. While a gate is set, the alias moves to a version only by a certificate that
passed it against the version that the alias points at in that very transaction (`rules.py`): of two promotions at
once the second one's certificate is about an incumbent that is none any more.

To go back is never gated, nor is a split in which versions without a certificate have half of the traffic at most.
"""
