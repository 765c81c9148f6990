"""Processes of their own that answer in lines, from both ends: `mouth` is the child's, `asked` its parent's.

A child says lines on its standard output, which nothing else in it has; what it prints, or fails with, goes to standard
error. It ends when its input does, and so with its parent. `with_parent` is for those that hear of no input.
"""
