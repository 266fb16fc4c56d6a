"""DICOMweb for viewers and other programs: QIDO-RS and WADO-RS with an API token, read only."""
