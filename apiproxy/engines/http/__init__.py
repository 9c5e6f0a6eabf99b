"""The `http` engine: requests go straight to the upstream's Messages API."""
