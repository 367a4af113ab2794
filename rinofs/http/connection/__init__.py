"""One request and its response: urllib3's pools, HTTP/1.1 heads, deadlines, responses, redaction.

requests and urllib3 are used here and nowhere else. Serves http.session.
"""
