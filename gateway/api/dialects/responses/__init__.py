"""OpenAI's Responses, put to engines as chats.

dialect       where, and what becomes of a request
fields        every field that clients may send
options       what a good value of those is that chats have in another shape, or do not have
input         what a good input is: items
translation   items and fields as a chat has them
reader        an engine's chat stream, as a stream of events or as one document
output        the items of an answer, and the events that tell of them
document      the response as a whole
"""
