"""What processes tell of themselves: a log in one form, and spans for an operator's tracing. Imports none of ours."""
