"""DICOMweb, read only: an exam's own DICOM files and the objects of its results, found and fetched.

`instances` decides what of an exam a person gets, `search` finds (QIDO-RS), `retrieval` fetches
(WADO-RS). Each request writes one row of the access log.
"""
