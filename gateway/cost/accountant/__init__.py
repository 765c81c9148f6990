"""Answers of the cost API that are seconds of arithmetic, made in a process of their own.

While a thread computes, the event loop may wait 5 ms for the interpreter each time that it wakes up: a report over a
month of a thousand tenants would be felt by everybody who is served. So a child does it, which yields to what serves,
is asked one thing at a time, and ends when it was not asked for a while. What is soon done, as there are few
sums, is done without it, by the same functions.

* `questions.py`: what can be asked, and how it is answered
* `asking.py`: the parent's end
* `__main__.py`: the child
"""
