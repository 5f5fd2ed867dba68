/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Runs a scenario with many seeds. IOTSEC_SIM_SEEDS says how many (50), IOTSEC_SIM_SEED runs one alone.
 * A failure names its seed.
 */
#ifndef IOTSEC_TESTS_SCENARIO_H
#define IOTSEC_TESTS_SCENARIO_H

#include "net.h"

/* A fresh network for each seed. Only one seed in `thinning` is run: for scenarios that cost much or vary little. */
void scenario_seeds(unsigned thinning, void (*run)(struct net *net));
/* One network of a seed of its own, for a test that is a table; free it with scenario_end. */
struct net *scenario_begin(uint64_t seed);
void scenario_end(struct net *net);
int scenario_teardown(void **state);

#define scenario(test) cmocka_unit_test_teardown(test, scenario_teardown)

#endif
