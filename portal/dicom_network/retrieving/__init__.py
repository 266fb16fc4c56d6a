"""What is retrieved from DICOM nodes: earlier X-rays of a patient, found by C-FIND and fetched by
C-GET or C-MOVE. They come in as whatever a node sends, and only what was asked for is taken.
"""
