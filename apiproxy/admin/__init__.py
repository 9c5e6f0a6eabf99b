"""Admin pages for keys, models, usage and sessions."""

from apiproxy.admin import keys, models, usage

__all__ = ["keys", "models", "usage"]
