/* The variables of a session with the database that decide what a statement means and whether its
 * result is complete. A session begins with what the server's configuration, its init_connect, or a
 * proxy in between gives it; none of that is relied on. */
#ifndef BERTH_DB_SESSION_VARIABLES_H
#define BERTH_DB_SESSION_VARIABLES_H

#include "db/mysql_session.h"

/* Sets each variable and reads it back. ERR_DB_ERROR: a variable has another value all the same, or
 * the server's configuration cannot hold what Berth writes; the failure says which, and what to do. */
enum err session_variables_set(struct mysql_session *session, const struct mysql_settings *settings,
                               struct failure *f);

#endif
