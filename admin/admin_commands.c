/* The table of commands. */
#include "admin/admin.h"

#include <string.h>

#include "lib/base/nearest.h"
#include "lib/config/completion.h"

const struct option_spec admin_common_options[] = {
    {"output", 'o', "text|json|tsv", "how to print; default: text"},
    {"no-headers", 0, NULL, "leave the headings of tables out"},
    {"quiet", 'q', NULL, "print no remarks"},
    {"config", 'c', "FILE", "read this configuration file instead of the usual ones"},
    {"set", 0, "KEY=VALUE", "set a configuration key; wins over file and environment"},
    {0},
};

static const struct option_spec init_options[] = {
    {"farm", 0, "NAME", "the farm's name, 1 to 32 of a-z 0-9 - (required)"},
    {"partitions", 0, "P", "partitions of each topic, 1 to 4096 (8)"},
    {"replication-factor", 0, "R", "replicas of each partition (the brokers' default)"},
    {"retention", 0, "DURATION",
     "how long both topics keep messages, as in 30d (the brokers' "
     "default)"},
    {0},
};
static const struct option_spec client_add_options[] = {
    {"role", 0, "submitter|admin",
     "submitter: books for itself; admin: looks after machines, too (required)"},
    {0},
};
static const struct option_spec limit_options[] = {
    {"booking", 0, "DURATION", "the longest booking, such as 12h"},
    {"ahead", 0, "DURATION", "how far ahead a booking may begin, such as 4w"},
    {"allocations", 0, "N", "the most machines in one booking"},
    {"gpus-at-once", 0, "N", "the most GPUs held at any instant by all bookings of the client"},
    {"gpu-hours-ahead", 0, "N",
     "the most GPU-hours booked from now on by all bookings of the client"},
    {0},
};
static const struct option_spec key_add_options[] = {
    {"public-key", 0, "FILE", "the public key, PEM or JWK (required)"},
    {"kid", 0, "KID", "the key's name in tokens (its RFC 7638 thumbprint)"},
    {"not-before", 0, "TIME", "messages before this moment are rejected"},
    {"not-after", 0, "TIME", "messages from this moment on are rejected"},
    {0},
};
static const struct option_spec partition_resume_options[] = {
    {"ignore-time-until", 0, "OFFSET",
     "decide requests below this offset with the partition's own clock, whatever time their "
     "broker gave them"},
    {0},
};
static const struct option_spec audit_options[] = {
    {"wait", 0, "DURATION", "how long an event may be late (30s; with --follow half a second)"},
    {"follow", 0, NULL, "follow the event topic, without the database, and alarm as it happens"},
    {"for", 0, "DURATION", "with --follow: end that long after it has caught up (never)"},
    {"json", 0, NULL, "the same as -o json"},
    {0},
};
static const struct option_spec import_options[] = {
    {"from-database", 0, "NAME", "the old database (required)"},
    {"from-host", 0, "HOST", "its server (Berth's own: db.host)"},
    {"from-port", 0, "PORT", "its TCP port (3306; of Berth's own server db.port)"},
    {"from-socket", 0, "PATH", "its Unix socket, instead of host and port"},
    {"from-user", 0, "NAME", "the account there (admin.db_user)"},
    {"from-password-file", 0, "FILE", "a file with the account's password"},
    {"from-tls-ca", 0, "FILE", "with --from-host: TLS to a server that this PEM file vouches for"},
    {"from-public-key", 0, "FILE", "its RSA public key, as db.server_public_key is of db.host"},
    {"tables", 0, "A,B,C",
     "the tables of resources, reservations and reserved resources "
     "(Ressource,Reservation,RessourceReserve)"},
    {"column", 0, "TABLE.COLUMN=NAME",
     "a column with another name, such as Ressource.quantiteGPU=gpus; may be repeated"},
    {"name-format", 0, "FORMAT", "how old ids become machines' names (gpu-%02d)"},
    {"zone", 0, "ZONE", "the time zone of the old dates, such as Europe/Paris (UTC)"},
    {"wait", 0, "DURATION", "how long to wait for each decision (1m)"},
    {"dry-run", 0, NULL, "print what would be sent; send nothing"},
    {0},
};

static const struct option_spec list_options[] = {
    {"sort", 0, "COLUMN", "sort by this column of tsv, -COLUMN in reverse"},
    {0},
};

#define COMMAND(words, a, b, c, d)                                                                 \
    .spec = {.name = "berth-admin " words,                                                         \
             .operands = (a),                                                                      \
             .options = (b),                                                                       \
             .description = (c),                                                                   \
             .example = (d),                                                                       \
             .common = admin_common_options}

const struct admin_command admin_commands[] = {
    {COMMAND("init", NULL, init_options,
             "Makes a farm.\n"
             "Migrates the database, creates the topics and records both. Does nothing if the\n"
             "farm exists already; refuses to change a farm.",
             "berth-admin init --farm lab --partitions 16 --replication-factor 3"),
     admin_init, 0},
    {COMMAND("migrate", NULL, NULL,
             "Brings the database to this release's schema.\n"
             "Each step runs once; an interrupted run continues where it stopped.",
             "berth-admin migrate"),
     admin_migrate, 0},
    {COMMAND("status", NULL, NULL,
             "Shows how the farm is doing.\nBacklog, what is halted, versions.",
             "berth-admin status -o json"),
     admin_status, 0},
    {COMMAND("client add", "NAME", client_add_options,
             "Registers a client, which may send requests.",
             "berth-admin client add batch-1 --role submitter"),
     admin_client_add, 1},
    {COMMAND("client list", NULL, list_options, "Lists the clients.", "berth-admin client list"),
     admin_client_list, 0},
    {COMMAND("client limit", "CLIENT", limit_options,
             "Shows or sets what a client may book.\n"
             "A client's own limit replaces the farm's, and may be higher; `none` clears it.\n"
             "A limit applies to requests from the workers' next batch on; existing bookings\n"
             "stay.",
             "berth-admin client limit batch-1 --gpus-at-once 64 --booking none"),
     admin_client_limit, 1},
    {COMMAND("key add", "CLIENT", key_add_options,
             "Registers a client's public key.\n"
             "The key is valid from the workers' next batch on.",
             "berth-admin key add batch-1 --public-key batch-1.pub.pem"),
     admin_key_add, 1},
    {COMMAND("key list", NULL, list_options, "Lists the clients' keys.",
             "berth-admin key list -o tsv"),
     admin_key_list, 0},
    {COMMAND("key revoke", "KID", NULL,
             "Revokes a key, for good.\n"
             "From the workers' next batch on every request that the key signed is rejected,\n"
             "whenever it was sent. Put -- before a KID that begins with a dash.",
             "berth-admin key revoke batch-1-2026\n"
             "berth-admin key revoke -- -x3Wk"),
     admin_key_revoke, 1},
    {COMMAND("partition list", NULL, list_options, "Lists the partitions: owner, position, halts.",
             "berth-admin partition list"),
     admin_partition_list, 0},
    {COMMAND("partition resume", "PARTITION", partition_resume_options,
             "Lets a halted partition go on.\nFirst remove the cause of the halt.",
             "berth-admin partition resume 3"),
     admin_partition_resume, 1},
    {COMMAND("reject", "PARTITION OFFSET", NULL,
             "Rejects the next request of a partition.\n"
             "The request is not read: its reason is rejected_by_operator, and the partition\n"
             "goes on.",
             "berth-admin reject 3 1187"),
     admin_reject, 2},
    {COMMAND("farm limit", NULL, limit_options,
             "Shows or sets what clients without a limit of their own may book.\n"
             "`none` clears a limit.",
             "berth-admin farm limit --booking 1w --gpu-hours-ahead 5000"),
     admin_farm_limit, 0},
    {COMMAND("farm resume", NULL, NULL,
             "Lets a halted farm go on.\n"
             "Refused while the event topic holds events that the database lacks.",
             "berth-admin farm resume"),
     admin_farm_resume, 0},
    {COMMAND("audit", NULL, audit_options,
             "Checks that database and topics agree.\n"
             "Compares decisions, events and requests with each other, rebuilds all bookings\n"
             "from the events and looks for over-booked machines, while the farm runs.\n"
             "With --follow it reads the event topic alone, keeps on reading, and prints a\n"
             "line within a second of an event that over-books a machine or follows a gap.\n"
             "Exit status 0: all agree; 6: differences.",
             "berth-admin audit --wait 1m"),
     admin_audit, 0},
    {COMMAND("import", NULL, import_options,
             "Takes the data of the old web API into Berth.\n"
             "Reads its three tables, registers the machines and books what is not over, by\n"
             "signed requests of client.name, which must be an admin. Says of each row what\n"
             "became of it. May be run again: nothing is taken twice. Exit status 3: some\n"
             "could not be taken; 4: some decisions did not come in time.",
             "berth-admin import --from-database flask --zone Europe/Paris --dry-run"),
     admin_import, 0},
    {COMMAND("completion", COMPLETION_SHELLS, NULL,
             "Prints the completion script for a shell.\n"
             "It completes commands, options, clients, keys and partitions. `make install`\n"
             "installs the scripts.",
             "berth-admin completion bash > /etc/bash_completion.d/berth-admin"),
     admin_completion, 1},
    {.spec = {0}},
};

/* The words of the command, without "berth-admin ". */
static const char *words_of(const struct admin_command *command)
{
    return command->spec.name + sizeof("berth-admin");
}

/* The number of given words that name this command; 0: they name another one. */
static size_t match(const struct admin_command *command, const char *const *words, size_t count)
{
    const char *rest = words_of(command);
    for (size_t i = 0; i < count; i++) {
        size_t len = strlen(words[i]);
        if (strncmp(rest, words[i], len) != 0)
            return 0;
        if (rest[len] == '\0')
            return i + 1;
        if (rest[len] != ' ')
            return 0;
        rest += len + 1;
    }
    return 0;
}

enum err admin_find(const char *const *words, size_t count, const struct admin_command **out,
                    size_t *used_out, struct failure *f)
{
    char typed[128];
    snprintf(typed, sizeof(typed), "%s%s%s", words[0], count > 1 ? " " : "",
             count > 1 ? words[1] : "");
    /* A command whose first word matches is a better suggestion than one with similar letters. */
    struct buf completions = {0};
    struct nearest nearest;
    nearest_init(&nearest, typed);
    size_t len = strlen(words[0]);
    for (const struct admin_command *command = admin_commands; command->spec.name; command++) {
        size_t used = match(command, words, count);
        if (used > 0) {
            *out = command;
            *used_out = used;
            buf_fini(&completions);
            return ERR_OK;
        }
        nearest_offer(&nearest, words_of(command));
        if (strncmp(words_of(command), words[0], len) == 0 && words_of(command)[len] == ' ')
            buf_printf(&completions, "%s'%s'", completions.len > 0 ? ", " : "", words_of(command));
    }
    const char *best = nearest_result(&nearest);
    enum err err;
    if (count == 1 && completions.len > 0) {
        err = failure_set(f, ERR_USAGE, "'%s' wants one more word: %s", typed, completions.data);
    } else if (best) {
        err = failure_set(f, ERR_USAGE, "there is no command '%s': did you mean '%s'?", typed,
                          best);
    } else {
        err = failure_set(f, ERR_USAGE, "there is no command '%s': see berth-admin --help", typed);
    }
    buf_fini(&completions);
    return err;
}

void admin_help(FILE *out)
{
    fputs("usage: berth-admin COMMAND [ARGUMENT]...\n\nSets a farm up and looks after it.\n\n",
          out);
    for (const struct admin_command *command = admin_commands; command->spec.name; command++) {
        const char *description = command->spec.description;
        const char *operands = command->spec.operands ? command->spec.operands : "";
        int len = (int)strcspn(description, "\n");
        int shown = fprintf(out, "  %s %s", words_of(command), operands);
        if (shown > 28) {
            fputc('\n', out);
            shown = 0;
        }
        fprintf(out, "%*s%.*s\n", 30 - shown, "", len, description);
    }
    fputs("\n`berth-admin COMMAND --help` says more about a command. --print-config shows the\n"
          "settings and where they come from, --check-config checks them.\n",
          out);
}
