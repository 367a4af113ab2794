"""The pages of the server, on which users sign in and let programs act in their name."""
