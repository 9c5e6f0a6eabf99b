"""`make soak`: whether a gateway stays well under more than it can do."""
