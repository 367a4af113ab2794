"""What both filesystems share."""
