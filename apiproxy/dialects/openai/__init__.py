"""OpenAI dialect: Chat Completions and Responses over the Messages API.

`chat` and `responses` parse requests and encode answers; `translate` is what both share. All modules except `api` and
`responses.store` are free of I/O.
"""
