"""Error types of the Messages API by status. Source: https://platform.claude.com/docs/en/api/errors"""

ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
ERROR_STATUSES = {kind: status for status, kind in ERROR_TYPES.items()}

NO_EVENTS = "The upstream API's answer contains no Messages API event."
