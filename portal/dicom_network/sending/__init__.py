"""What is sent to DICOM nodes: chosen for each, made by the render workers, stored by C-STORE, and
proven by storage commitment or C-FIND. Data sets are sent as they are encoded, from memory.
"""
