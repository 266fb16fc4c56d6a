"""What single kinds of jobs read or find: reports, DICOM objects, drift."""
