"""HL7 version 2 by MLLP: which systems may send, and the listener that takes their messages.

`framing` reads frames, `messages` splits a message and states why one can't be read, `admission`
knows the sender, `taking` applies it within one transaction and makes the answer. No message is
stored; what is kept of one is sealed.
"""
