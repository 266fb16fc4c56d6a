"""DICOMweb for viewers and other programs: QIDO-RS, WADO-RS and STOW-RS with an API token."""
