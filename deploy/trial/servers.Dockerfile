# Stands in for the public images of PostgreSQL and Redis: Debian's packages under the public
# images' user and folders. The image is given both names.
FROM localhost/pleura-trial-python
RUN echo force-unsafe-io >/etc/dpkg/dpkg.cfg.d/trial \
 && mkdir -p /etc/postgresql-common \
 && echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf \
 && apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -qqy --no-install-recommends postgresql redis-server
RUN for name in postgres redis; do groupmod -o -g 999 $name; usermod -o -u 999 -g 999 $name; done \
 && mkdir -p /var/lib/postgresql/data /run/postgresql /data \
 && chown -R 999:999 /var/lib/postgresql /run/postgresql /data
COPY postgres_entry.sh /entry.sh
ENV PATH=/usr/lib/postgresql/15/bin:$PATH PGDATA=/var/lib/postgresql/data
WORKDIR /data
