"""Anthropic's Messages, put to engines as chats.

dialect       where, and what becomes of a request
fields        every field that clients may send
conversation  what good messages are, and the chat that they stand for
tools         the same for tools
answers       an engine's chat stream, as a stream of events or as one document
blocks        the content of an answer, block by block
errors        Anthropic's envelope
"""
