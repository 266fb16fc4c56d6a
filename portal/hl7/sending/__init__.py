"""Reports of signed exams for the hospital's systems: ORU^R01 by MLLP.

`targets` are the systems that get them, `triggers` looks for what is to be sent, `content` makes
what is stated of an exam, `oru` the message, `mllp` carries it and `acks` reads the answer.
"""
