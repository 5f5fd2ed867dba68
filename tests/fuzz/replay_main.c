/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Runs a fuzz target without libFuzzer: over the empty input, and over every file that is named on
 * the command line or lies in a folder named there.
 */
#define _POSIX_C_SOURCE 200809L

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned runs;

/* The input is exactly as long as its allocation, so that a sanitizer sees a read behind its end. */
static int run_input(const uint8_t *bytes, size_t size)
{
    uint8_t *exact = calloc(1, size > 0 ? size : 1);
    if (exact == NULL) {
        return -1;
    }
    if (size > 0) {
        memcpy(exact, bytes, size);
    }
    (void)LLVMFuzzerTestOneInput(exact, size);
    free(exact);
    runs++;
    return 0;
}

static int run_file(const char *path, off_t length)
{
    const size_t size = (size_t)length;
    FILE *file = fopen(path, "rb");
    uint8_t *bytes = malloc(size > 0 ? size : 1);
    int result = -1;

    if (file != NULL && bytes != NULL && fread(bytes, 1, size, file) == size) {
        result = run_input(bytes, size);
    }
    if (result != 0) {
        perror(path);
    }
    free(bytes);
    if (file != NULL) {
        (void)fclose(file);
    }
    return result;
}

static int run_path(const char *path);

static int run_folder(const char *path)
{
    DIR *folder = opendir(path);
    const struct dirent *entry;
    int result = 0;

    if (folder == NULL) {
        perror(path);
        return -1;
    }
    while (result == 0 && (entry = readdir(folder)) != NULL) {
        char name[4096];
        if (entry->d_name[0] == '.') {
            continue;
        }
        if (snprintf(name, sizeof name, "%s/%s", path, entry->d_name) >= (int)sizeof name) {
            fprintf(stderr, "%s: path too long\n", path);
            result = -1;
        } else {
            result = run_path(name);
        }
    }
    (void)closedir(folder);
    return result;
}

static int run_path(const char *path)
{
    struct stat status;

    if (stat(path, &status) != 0) {
        perror(path);
        return -1;
    }
    return S_ISDIR(status.st_mode) ? run_folder(path) : run_file(path, status.st_size);
}

int main(int argc, char **argv)
{
    if (run_input(NULL, 0) != 0) {
        return EXIT_FAILURE;
    }
    for (int i = 1; i < argc; i++) {
        if (run_path(argv[i]) != 0) {
            return EXIT_FAILURE;
        }
    }
    printf("%u inputs\n", runs);
    return EXIT_SUCCESS;
}
