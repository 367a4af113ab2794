"""Contents: versioned reads that resume, ranges, verification, and the bodies of uploads.

May import http.session and below. Serves fs, rinocloud and repovizz.
"""
