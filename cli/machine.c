/* `berth machine add|update|drain|resume|retire`. */

#include "cli/cli.h"
#include "cli/spec.h"
#include "cli/typed_request.h"
#include "core/limits.h"
#include "core/request.h"

static enum err take_name(const struct cli *cli, struct cli_machine *out, struct failure *f)
{
    if (cli->after.operand_count != 1)
        return failure_set(f, ERR_USAGE, "expected one machine's name");
    out->name = cli->after.operands[0];
    return cli_name_check(out->name, f);
}

static enum err take_capacity(const struct cli *cli, struct cli_machine *out, struct failure *f)
{
    enum err err = cli_amount_parse(cli_value(cli, "gpus"), cli_gpus_range, &out->gpus, f);
    if (err == ERR_OK)
        err = cli_amount_parse(cli_value(cli, "mem"), cli_memory_range, &out->memory_gib, f);
    return err;
}

static int decide(struct cli *cli, const char *type, const struct cli_machine *machine)
{
    json_t *request = cli_request_machine(type, machine);
    json_decref(machine->labels);
    return cli_decide(cli, request, NULL);
}

int cli_machine_add(struct cli *cli)
{
    struct failure f;
    struct cli_machine machine = {0};
    struct cli_range id = {"--id", 1, LIMIT_CHOSEN_MACHINE_ID};
    enum err err = take_name(cli, &machine, &f);
    if (err == ERR_OK)
        err = take_capacity(cli, &machine, &f);
    if (err == ERR_OK && (machine.gpus < 0 || machine.memory_gib < 0))
        err = failure_set(&f, ERR_USAGE, "a machine needs --gpus N and --mem GIB");
    if (err == ERR_OK)
        err = cli_amount_parse(cli_value(cli, "id"), id, &machine.id, &f);
    if (err == ERR_OK)
        err = cli_labels(cli, &machine.labels, &f);
    if (err != ERR_OK)
        return cli_fail(cli, &f);
    return decide(cli, "machine.register", &machine);
}

int cli_machine_update(struct cli *cli)
{
    struct failure f;
    struct cli_machine machine = {.state = cli_value(cli, "state"),
                                  .displace = cli_has(cli, "displace")};
    enum err err = take_name(cli, &machine, &f);
    if (err == ERR_OK)
        err = take_capacity(cli, &machine, &f);
    if (err == ERR_OK && machine.state &&
        machine_state_from_name(machine.state) == MACHINE_STATE_COUNT) {
        err = failure_set(&f, ERR_USAGE, "--state '%.40s': expected up, draining or retired",
                          machine.state);
    }
    if (err == ERR_OK && cli_has(cli, "label") && cli_has(cli, "no-labels"))
        err = failure_set(&f, ERR_USAGE, "--label and --no-labels contradict each other");
    if (err == ERR_OK)
        err = cli_labels(cli, &machine.labels, &f);
    if (err == ERR_OK && cli_has(cli, "no-labels"))
        machine.labels = json_object();
    if (err == ERR_OK && machine.gpus < 0 && machine.memory_gib < 0 && !machine.labels &&
        !machine.state) {
        err = failure_set(&f, ERR_USAGE,
                          "nothing to change: give --gpus, --mem, --label or --state");
    }
    if (err != ERR_OK)
        return cli_fail(cli, &f);
    return decide(cli, "machine.update", &machine);
}

static int set_state(struct cli *cli, const char *state)
{
    struct failure f;
    struct cli_machine machine = {
        .gpus = -1, .memory_gib = -1, .state = state, .displace = cli_has(cli, "displace")};
    if (take_name(cli, &machine, &f) != ERR_OK)
        return cli_fail(cli, &f);
    return decide(cli, "machine.update", &machine);
}

int cli_machine_drain(struct cli *cli)
{
    return set_state(cli, machine_state_name(MACHINE_DRAINING));
}

int cli_machine_resume(struct cli *cli)
{
    return set_state(cli, machine_state_name(MACHINE_UP));
}

int cli_machine_retire(struct cli *cli)
{
    return set_state(cli, machine_state_name(MACHINE_RETIRED));
}
