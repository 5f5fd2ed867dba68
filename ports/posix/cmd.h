/* SPDX-License-Identifier: BSD-3-Clause */
/* The commands. Each takes what follows its name on the command line and returns the exit status. */
#ifndef IOTSEC_POSIX_CMD_H
#define IOTSEC_POSIX_CMD_H

int cmd_manager(int count, char **list);
int cmd_device(int count, char **list);
int cmd_relay(int count, char **list);
int cmd_dtls(int count, char **list);

/* `iotsec manager serve`, which cmd_manager hands on. */
int cmd_serve(int count, char **list);
extern const char serve_usage[];

struct wish;
/* `manager=... prefix=... pan=...` of a WISH_ACCESS, in the line under construction. */
void out_access_wish(const struct wish *wish);
/* `degree=... overlap=...` of a WISH_POLY_RENEW. */
void out_poly_wish(const struct wish *wish);

#endif
