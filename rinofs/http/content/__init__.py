"""Contents: read by version and resumed, by ranges, verified; and the bodies of uploads.

May import http.session and below. Serves fs, rinocloud and repovizz.
"""
