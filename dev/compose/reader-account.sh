# Sourced by the MySQL image's entry point on the first start: the reader's account, which can
# look at everything of Berth's and change nothing. The password is hexadecimal digits.
# shellcheck shell=bash
docker_process_sql <<SQL
CREATE USER 'berth_reader'@'%' IDENTIFIED BY '$(cat /run/secrets/db_reader_password)';
GRANT SELECT ON berth.* TO 'berth_reader'@'%';
SQL
