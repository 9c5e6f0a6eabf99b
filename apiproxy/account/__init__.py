"""What a key can see of itself: its usage and limits, and its sessions."""
