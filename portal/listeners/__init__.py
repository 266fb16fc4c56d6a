"""What the listeners of DICOM and HL7 share: how a sender is known, and TLS of a listening port."""
