"""Image files in folders, archives, patterns and lists."""
