"""The DICOM network: which systems are known, what they may do, and the listener that takes what
they send. Data sets are taken as they are encoded; no header and no pixel is read in its process.
"""
