#include "db/mysql_session.h"

#include <stdlib.h>
#include <string.h>

enum err mysql_settings_read(const struct config *cfg, struct mysql_settings *out,
                             struct failure *f)
{
    char *password = NULL;
    enum err err = config_secret(cfg, "db.password_file", &password, f);
    if (err != ERR_OK)
        return err;
    const char *socket = config_string(cfg, "db.socket");
    const char *tls_ca = config_string(cfg, "db.tls_ca");
    *out = (struct mysql_settings){
        .socket = socket ? xstrdup(socket) : NULL,
        .tls_ca = tls_ca ? xstrdup(tls_ca) : NULL,
        .host = xstrdup(config_string(cfg, "db.host")),
        .port = config_int(cfg, "db.port"),
        .user = xstrdup(config_string(cfg, "db.user")),
        .password = password,
        .database = xstrdup(config_string(cfg, "db.name")),
        .connect_timeout_s = 5,
        .io_timeout_s = 10,
        .lock_timeout_s = 3,
        .idle_timeout_s = 10,
    };
    return ERR_OK;
}

void mysql_settings_fini(struct mysql_settings *settings)
{
    if (settings->password)
        memset(settings->password, 0, strlen(settings->password));
    free(settings->host);
    free(settings->user);
    free(settings->password);
    free(settings->database);
    free(settings->socket);
    free(settings->tls_ca);
    *settings = (struct mysql_settings){0};
}
