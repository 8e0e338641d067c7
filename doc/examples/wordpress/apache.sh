# SPDX-License-Identifier: GPL-2.0-or-later
# The web server's container: Apache in front, its access log on standard output.
cp /example/apache.conf /etc/apache2/sites-enabled/000-default.conf
cp /example/wordpress.php /etc/wordpress/config-default.php
. /etc/apache2/envvars
mkdir -p "$APACHE_RUN_DIR" "$APACHE_LOCK_DIR" "$APACHE_LOG_DIR"
rm -f "$APACHE_PID_FILE"
exec apache2 -D FOREGROUND
