/* The class of each error number of MySQL, MariaDB and their client libraries. */
#include "db/mysql_session.h"

struct error_row {
    unsigned number;
    enum err err;
};

/* Numbers, because each library's headers lack names for errors of the other one's server. */
static const struct error_row errors[] = {
    {1213, ERR_DB_DEADLOCK},     /* deadlock */
    {1020, ERR_DB_DEADLOCK},     /* MariaDB: the record changed since the snapshot */
    {3058, ERR_DB_DEADLOCK},     /* deadlock of user locks */
    {3101, ERR_DB_DEADLOCK},     /* group replication rolled back at COMMIT */
    {1205, ERR_DB_LOCK_TIMEOUT}, /* innodb_lock_wait_timeout */
    {3572, ERR_DB_LOCK_TIMEOUT}, /* NOWAIT */
    {1062, ERR_DB_DUPLICATE},    /* duplicate key */
    {1586, ERR_DB_DUPLICATE},    /* the same, with the key's name */

    {1053, ERR_DB_CONNECTION}, /* the server shuts down */
    {1077, ERR_DB_CONNECTION}, /* normal shutdown */
    {1079, ERR_DB_CONNECTION}, /* shutdown complete */
    {1152, ERR_DB_CONNECTION}, /* aborted connection */
    {1158, ERR_DB_CONNECTION}, /* reading from or writing to the network */
    {1159, ERR_DB_CONNECTION},   {1160, ERR_DB_CONNECTION}, {1161, ERR_DB_CONNECTION},
    {1184, ERR_DB_CONNECTION},                              /* aborted connection */
    {1927, ERR_DB_CONNECTION},                              /* MariaDB: the connection was killed */
    {4031, ERR_DB_CONNECTION},                              /* MySQL: wait_timeout passed */
    {2001, ERR_DB_CONNECTION},                              /* no socket */
    {2002, ERR_DB_CONNECTION},                              /* nobody listens on the Unix socket */
    {2003, ERR_DB_CONNECTION},                              /* nobody listens at host and port */
    {2004, ERR_DB_CONNECTION},   {2005, ERR_DB_CONNECTION}, /* unknown host */
    {2006, ERR_DB_CONNECTION},                              /* gone away */
    {2012, ERR_DB_CONNECTION},                              /* lost in the handshake */
    {2013, ERR_DB_CONNECTION},                              /* lost during a query */
    {2014, ERR_DB_CONNECTION}, /* out of step with the protocol: only a new session helps */
    {2026, ERR_DB_CONNECTION}, /* TLS failed */
    {2027, ERR_DB_CONNECTION}, /* malformed packet */
    {2055, ERR_DB_CONNECTION}, /* lost, with errno */
    {5013, ERR_DB_CONNECTION}, /* MariaDB's library: read, write */
    {5014, ERR_DB_CONNECTION},

    {3, ERR_DB_SERVER},    /* error writing a file: disk full */
    {20, ERR_DB_SERVER},   /* disk full */
    {1021, ERR_DB_SERVER}, /* disk full */
    {1026, ERR_DB_SERVER}, /* error writing a file */
    {1030, ERR_DB_SERVER}, /* the engine's errno, such as 28: no space */
    {1037, ERR_DB_SERVER}, /* out of memory */
    {1038, ERR_DB_SERVER},       {1041, ERR_DB_SERVER},     {1114, ERR_DB_SERVER}, /* table full */
    {1206, ERR_DB_SERVER}, /* lock table full */
    {1637, ERR_DB_SERVER}, /* too many transactions */
    {1040, ERR_DB_SERVER}, /* too many connections */
    {1129, ERR_DB_SERVER}, /* host blocked */
    {1135, ERR_DB_SERVER}, /* no thread for the connection */
    {1203, ERR_DB_SERVER}, /* too many connections of this user */
    {1226, ERR_DB_SERVER}, /* the user's resource limit */
    {1142, ERR_DB_SERVER}, /* the account lacks a right on a table */
    {1143, ERR_DB_SERVER}, /* on a column */
    {1223, ERR_DB_SERVER}, /* read lock */
    {1290, ERR_DB_SERVER}, /* --read-only and other options */
    {1792, ERR_DB_SERVER}, /* read-only transaction */
    {1836, ERR_DB_SERVER}, /* read-only mode */
    {3100, ERR_DB_SERVER}, /* replication hook at COMMIT */
    {1047, ERR_DB_SERVER}, /* Galera: the node is not ready */
    {1317, ERR_DB_SERVER}, /* KILL QUERY */
    {1969, ERR_DB_SERVER}, /* MariaDB: max_statement_time */
    {3024, ERR_DB_SERVER}, /* MySQL: max_execution_time */

    {1146, ERR_DB_SCHEMA}, /* no such table */
    {1054, ERR_DB_SCHEMA}, /* no such column */
};

enum err mysql_error_class(unsigned number)
{
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        if (errors[i].number == number)
            return errors[i].err;
    }
    return ERR_DB_ERROR;
}
