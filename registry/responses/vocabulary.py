"""What short values have in common: zstd looks here first, so that a short response takes a third of the room.

What was sealed with it can be opened with it alone: it is never changed. A better one is another one, with marks of its
own (`registry.responses.sealing`).
"""

from __future__ import annotations

VOCABULARY = (
    b'{"items":[{"id":"rs_","status":"completed","type":"reasoning","summary":[{"type":"summary_text","text":"'
    b'"}],"content":[{"type":"reasoning_text","text":""}],"encrypted_content":"sw1.'
    b'{"id":"fco_","status":"completed","type":"function_call_output","call_id":"call_","output":"{\\"'
    b'{"id":"fc_","type":"function_call","status":"completed","arguments":"{\\"","call_id":"call_","name":"get_'
    b'"tools":[{"description":"","parameters":{"type":"object","properties":{"":{"type":"string","description":"'
    b'"}},"required":["additionalProperties":false},"strict":true,"type":"function","name":"'
    b'{"metadata":{},"unit":"conv_"}{"metadata":{"conversation_id":"'
    b'{"items":[{"id":"msg_","status":"completed","type":"message","role":"assistant","content":[{"type":"output_text",'
    b'"text":"The the and of to is a in that you for with are I can"}]},{"id":"msg_","status":"completed",'
    b'"type":"message","role":"developer","content":[{"type":"input_text","text":"You are a helpful assistant. '
    b'{"items":[{"id":"msg_","status":"completed","type":"message","role":"user","content":[{"type":"input_text",'
    b'"text":"How What Please "}]}],"unit":"resp_"}'
    b'{"id":"resp_","object":"response","created_at":17,"status":"incomplete","completed_at":null,"error":'
    b'{"code":"server_error","message":"'
    b'{"id":"resp_","object":"response","created_at":17,"status":"completed","completed_at":17,"error":null,'
    b'"incomplete_details":{"reason":"max_output_tokens"},"output":[{"id":"msg_","type":"message","status":"incomplete",'
    b'"content":[{"type":"output_text","annotations":[],"logprobs":[],"text":""}],"role":"assistant"}],"usage":'
    b'{"input_tokens":1,"input_tokens_details":{"cached_tokens":0,"cache_write_tokens":0},"output_tokens":1,'
    b'"output_tokens_details":{"reasoning_tokens":0},"total_tokens":1},"max_output_tokens":null,"model":"/@1.0",'
    b'"store":true,"background":false,"conversation":null,"instructions":null,"max_tool_calls":null,"metadata":{},'
    b'"parallel_tool_calls":true,"previous_response_id":null,"prompt_cache_key":null,"prompt_cache_retention":null,'
    b'"reasoning":{"effort":null,"summary":null},"safety_identifier":null,"service_tier":"default","temperature":null,'
    b'"text":{"format":{"type":"text"}},"tool_choice":"auto","tools":[],"top_logprobs":0,"top_p":null,'
    b'"truncation":"disabled","user":null}'
)
"""Pieces of JSON as they stand in what is sealed; the most frequent come last, as what is near costs least."""
