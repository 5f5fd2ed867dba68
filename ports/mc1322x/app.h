/* SPDX-License-Identifier: BSD-3-Clause */
/* The two applications. An image has one of them; provisioning names the role, which the image has to have. */
#ifndef MC1322X_APP_H
#define MC1322X_APP_H

#include "provision.h"

/* A manager's image runs the first one, everybody else's the second one. `provision` stays valid. */
void manager_run(const struct provision *provision) __attribute__((noreturn));
void device_run(const struct provision *provision) __attribute__((noreturn));

#endif
