"""Stored DICOM files as DICOMweb serves them: their elements as JSON, their frames and long values.

`process` reads the files, which are untrusted, in a limited process; no pixel is decoded.
"""
