# Sourced by the MySQL image's entry point on the first start: creates the reader's account, which may
# read Berth's tables and change nothing. The password consists of hexadecimal digits.
# shellcheck shell=bash
docker_process_sql <<SQL
CREATE USER 'berth_reader'@'%' IDENTIFIED BY '$(cat /run/secrets/db_reader_password)';
GRANT SELECT ON berth.* TO 'berth_reader'@'%';
SQL
