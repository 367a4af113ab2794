"""Several workers on PostgreSQL: what they share, what is killed among them, and how they are upgraded."""
