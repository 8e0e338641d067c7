# SPDX-License-Identifier: GPL-2.0-or-later
# The database's container: an SSH server, as many an image has one, and MariaDB in front.
mkdir -p /run/mysqld /etc/dropbear
chown mysql:mysql /run/mysqld
dropbear -R -E -p 22
exec mariadbd --user=mysql --bind-address=0.0.0.0 --skip-name-resolve --init-file=/example/db.sql
