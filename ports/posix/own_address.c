/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* environ */
#endif
#include "own_address.h"

#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "port.h"

/* ---- Addresses ---- */

/* Looks for an address that `wanted` is (NULL: any link-local one) on one interface (0: on any). */
static bool find_address(unsigned interface, const uint8_t *wanted, uint8_t found[16])
{
    struct ifaddrs *list;
    struct ifaddrs *entry;
    bool there = false;

    if (getifaddrs(&list) != 0) {
        return false;
    }
    for (entry = list; entry != NULL && !there; entry = entry->ifa_next) {
        struct sockaddr_in6 address;
        uint8_t ip[16];

        if (entry->ifa_addr == NULL || entry->ifa_addr->sa_family != AF_INET6 ||
            (interface != 0 && if_nametoindex(entry->ifa_name) != interface)) {
            continue;
        }
        memcpy(&address, entry->ifa_addr, sizeof address);
        memcpy(ip, &address.sin6_addr, sizeof ip);
        there = wanted != NULL ? memcmp(ip, wanted, sizeof ip) == 0 : ip[0] == 0xFE && (ip[1] & 0xC0) == 0x80;
        if (there) {
            memcpy(found, ip, sizeof ip);
        }
    }
    freeifaddrs(list);
    return there;
}

bool own_link_local(unsigned interface, uint8_t ip[16])
{
    return find_address(interface, NULL, ip);
}

bool own_address_there(const uint8_t ip[16])
{
    uint8_t found[16];

    return find_address(0, ip, found);
}

int own_address_add(unsigned interface, const uint8_t ip[16])
{
    struct {
        struct nlmsghdr header;
        struct ifaddrmsg about;
        struct rtattr attribute;
        uint8_t ip[16];
    } request;
    struct {
        struct nlmsghdr header;
        struct nlmsgerr error;
        uint8_t rest[256];
    } answer;
    struct sockaddr_nl kernel;
    ssize_t len;
    int result = 0;
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

    if (fd < 0) {
        return errno;
    }
    memset(&kernel, 0, sizeof kernel);
    kernel.nl_family = AF_NETLINK;
    memset(&request, 0, sizeof request);
    request.header.nlmsg_len = sizeof request;
    request.header.nlmsg_type = RTM_NEWADDR;
    request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
    request.about.ifa_family = AF_INET6;
    request.about.ifa_prefixlen = 64;
    request.about.ifa_flags = IFA_F_NODAD;
    request.about.ifa_index = interface;
    request.attribute.rta_type = IFA_LOCAL;
    request.attribute.rta_len = sizeof request.attribute + sizeof request.ip;
    memcpy(request.ip, ip, sizeof request.ip);
    if (sendto(fd, &request, sizeof request, 0, (const struct sockaddr *)&kernel, sizeof kernel) < 0) {
        result = errno;
    } else {
        len = recv(fd, &answer, sizeof answer, 0);
        if (len < (ssize_t)(sizeof answer.header + sizeof answer.error.error)) {
            result = len < 0 ? errno : EPROTO;
        } else if (answer.header.nlmsg_type == NLMSG_ERROR) {
            result = -answer.error.error;
        }
    }
    close(fd);
    return result == EEXIST ? 0 : result;
}

/* ---- Hooks ---- */

static char **join_environment(char *const variables[])
{
    size_t own = 0;
    size_t inherited = 0;
    char **joined;

    while (variables[own] != NULL) {
        own++;
    }
    while (environ[inherited] != NULL) {
        inherited++;
    }
    joined = calloc(own + inherited + 1, sizeof joined[0]);
    if (joined != NULL) {
        /* the first of two with the same name is the one that counts */
        memcpy(joined, variables, own * sizeof joined[0]);
        memcpy(joined + own, environ, inherited * sizeof joined[0]);
    }
    return joined;
}

int hook_start(struct hook *hook, const char *command, char *const variables[])
{
    char *arguments[4];
    char **joined = join_environment(variables);
    posix_spawnattr_t how;
    posix_spawn_file_actions_t files;
    sigset_t none;
    sigset_t all;
    int code;

    if (joined == NULL) {
        return ENOMEM;
    }
    arguments[0] = (char *)(uintptr_t)"sh";
    arguments[1] = (char *)(uintptr_t)"-c";
    arguments[2] = (char *)(uintptr_t)command;
    arguments[3] = NULL;
    sigemptyset(&none);
    sigfillset(&all);
    (void)posix_spawnattr_init(&how);
    (void)posix_spawn_file_actions_init(&files);
    /* our own blocked and ignored signals are nothing to inherit */
    (void)posix_spawnattr_setflags(&how, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    (void)posix_spawnattr_setsigmask(&how, &none);
    (void)posix_spawnattr_setsigdefault(&how, &all);
    (void)posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    (void)posix_spawn_file_actions_adddup2(&files, STDERR_FILENO, STDOUT_FILENO);
    code = posix_spawn(&hook->pid, "/bin/sh", &files, &how, arguments, joined);
    (void)posix_spawn_file_actions_destroy(&files);
    (void)posix_spawnattr_destroy(&how);
    free(joined);
    if (code != 0) {
        hook->pid = 0;
    }
    hook->started = port_now_ms();
    return code;
}

bool hook_ended(struct hook *hook, int *status)
{
    int code;
    pid_t pid;

    if (hook->pid == 0) {
        return false;
    }
    pid = waitpid(hook->pid, &code, WNOHANG);
    if (pid == hook->pid) {
        *status = WIFEXITED(code) ? WEXITSTATUS(code) : 128 + WTERMSIG(code);
        hook->pid = 0;
        return true;
    }
    if (pid < 0 || port_now_ms() - hook->started >= HOOK_TIMEOUT_MS) {
        hook_kill(hook);
        *status = -1;
        return true;
    }
    return false;
}

void hook_kill(struct hook *hook)
{
    int code;

    if (hook->pid != 0) {
        (void)kill(-hook->pid, SIGKILL);
        (void)waitpid(hook->pid, &code, 0);
        hook->pid = 0;
    }
}
