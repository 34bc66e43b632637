# Sourced by the MySQL image's entry point on the first start: creates an account for each program with
# the least rights of docs/operations.md. The passwords consist of hexadecimal digits.
#
# Not MySQL's default plugin: without TLS it needs the server's RSA key in each container.
# shellcheck shell=bash
account() {
    docker_process_sql <<SQL
CREATE USER '$1'@'%' IDENTIFIED WITH mysql_native_password BY '$(cat "/run/secrets/$2")';
GRANT $3 ON berth.* TO '$1'@'%';
SQL
}
account berth db_password "SELECT, INSERT, UPDATE"
account berth_admin db_admin_password "SELECT, INSERT, UPDATE, CREATE, ALTER, REFERENCES"
account berth_reader db_reader_password "SELECT"
