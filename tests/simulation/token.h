/* Clients, their keys, and signed requests. ES256 takes a tenth of a millisecond, so most seeds
 * replace a signature by a digest of key name and signing input, which the double of jws_verify
 * (doubles.c) compares. Every so many seeds sign for real. */
#ifndef BERTH_TESTS_SIMULATION_TOKEN_H
#define BERTH_TESTS_SIMULATION_TOKEN_H

#include "lib/token/jws.h"
#include "tests/simulation/sim.h"

#define TOKEN_CLIENTS 5 /* the first is the admin */

const char *token_client(int client);
/* Adds one key for each client to the database. */
void tokens_add_keys(struct sim *sim);
/* Each client has keys 0, 1, 2 …; key 0 is there from the start. Counts from the next generation.
 */
void token_key_add(struct sim *sim, int client);
void token_key_revoke(struct sim *sim, int client);
/* Signs with the client's newest key, which lives as long as the run. */
char *token_sign(struct sim *sim, int client, const char *claims_json);
/* The same under a key that is not registered. */
char *token_sign_unknown(struct sim *sim, const char *claims_json);
/* The digest in place of a signature. */
void token_digest(const char *kid, const char *input, size_t len, unsigned char out[64]);

#endif
