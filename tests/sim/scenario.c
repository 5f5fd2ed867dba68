/* SPDX-License-Identifier: BSD-3-Clause */
#include "scenario.h"

#include <stdlib.h>

/* A failed assertion jumps out of everything: the network that it left behind is found here. */
static struct net *running;

struct net *scenario_begin(uint64_t seed)
{
    running = net_new(seed);
    return running;
}

void scenario_end(struct net *net)
{
    running = NULL;
    net_free(net);
}

int scenario_teardown(void **state)
{
    (void)state;
    if (running != NULL) {
        print_message("at %llu ms of seed %llu; IOTSEC_SIM_SEED=%llu runs it alone\n", (unsigned long long)running->now,
                      (unsigned long long)running->seed, (unsigned long long)running->seed);
        net_free(running);
        running = NULL;
    }
    return 0;
}

static unsigned long number_of(const char *name, unsigned long otherwise)
{
    const char *text = getenv(name);
    char *end;
    unsigned long number;

    if (text == NULL || *text == '\0') {
        return otherwise;
    }
    number = strtoul(text, &end, 10);
    if (*end != '\0') {
        fail_msg("%s is not a number: %s", name, text);
    }
    return number;
}

void scenario_seeds(unsigned thinning, void (*run)(struct net *net))
{
    unsigned long only = number_of("IOTSEC_SIM_SEED", 0);
    unsigned long count = number_of("IOTSEC_SIM_SEEDS", 50);
    unsigned long seed;

    for (seed = 1; seed <= count; seed += thinning) {
        struct net *net = scenario_begin(only != 0 ? only : seed);

        run(net);
        scenario_end(net);
        if (only != 0) {
            return;
        }
    }
}
