/* contract.h - does the engine do what it was asked? Some accept a container's description and
 * leave out walls without a word, so the first container is looked at before it starts. */
#ifndef DOCKER_SANDBOX_CONTRACT_H
#define DOCKER_SANDBOX_CONTRACT_H

#include <jansson.h>
#include <listener/error.h>

/* contract_check - ASKED is the body of POST /containers/create, KEPT the reply to GET
 * /containers/ID/json.
 * 0, or -ENOTSUP with ERR naming the first wall that the engine has weakened. */
int contract_check(const json_t *asked, const json_t *kept, struct lsn_error *err);

#endif
