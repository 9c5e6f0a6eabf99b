"""The admin's pages for keys, models and usage."""

from apiproxy.admin import keys, models, usage

__all__ = ["keys", "models", "usage"]
