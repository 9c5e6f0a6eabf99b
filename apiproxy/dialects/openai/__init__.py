"""The OpenAI dialect: Chat Completions and Responses, translated to the Messages API and back.

`chat_parse` and `responses_parse` make a Messages body; `encode` and `responses_encode` write the answer. The
modules between them each own one part of that translation, and all but `api` are pure.
"""
