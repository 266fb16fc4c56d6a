# Stands in for python:3.11-slim-bookworm: Debian's Python under the public image's name of it.
FROM localhost/pleura-trial-python-base
RUN ln -s python3 /usr/bin/python
