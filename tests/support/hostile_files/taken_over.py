"""A process that a file has taken over: it answers what the file holds, and keeps to no rule.

What stands in the file between `ANSWER:` and `:END` is sent as it is.
"""

import socket
from contextlib import suppress

from portal.formats.header_messages import read_bytes, receive, send

if __name__ == "__main__":
    with socket.socket(fileno=0) as channel, suppress(EOFError, OSError):
        send(channel, {"ready": True, "missing": []})
        while True:
            data = read_bytes(channel, receive(channel)["bytes"])
            answer = data.partition(b"ANSWER:")[2].partition(b":END")[0]
            channel.sendall(len(answer).to_bytes(4, "big") + answer)
