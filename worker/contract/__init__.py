"""What portal and worker send each other: one definition for both sides.

Pydantic models of jobs, claims and results, the files a job reads and stores, the error codes and
the time limits. Imports nothing else of Pleura, so that the portal may use it.
"""
