"""HTTP for the server: reading requests, answering with contents."""
