/* SPDX-License-Identifier: Apache-2.0 */
/* penstockd: arguments in, a daemon, a replay, a check or a text out. */
#include <errno.h>
#include <getopt.h>
#include "check.h"
#include "config.h"
#include "daemon.h"
#include "loading.h"
#include "replay.h"
#include "storage/recovery.h"

static int usage(FILE *out, int code)
{
    fprintf(
        out,
        "penstockd --config FILE              capture, in the foreground (systemd, a shell)\n"
        "    --hard-reset --yes               set the open date's log aside before the start\n"
        "    --no-replay --yes                leave what the log holds out of memory\n"
        "penstockd --config FILE --check      plan rings, memory and disk; check the host\n"
        "penstockd --replay FILE...           run the same data plane on captures (pcap, pcapng, "
        "gz)\n"
        "    --config FILE                    with these feeds; or\n"
        "    --feed itch|iex|FRAMING          one feed on every group of the capture\n"
        "    --date YYYY-MM-DD                trading date instead of the capture's\n"
        "    --dir DIR                        keep log and state there (default: a temporary one)\n"
        "    --database DIR                   dates that end become partitions there\n"
        "    --eod                            and every date ends where the capture does\n"
        "    --rows N                         print the first N decoded rows (default 10)\n"
        "    --json                           the summary as JSON\n"
        "penstockd --help-config [--markdown] every configuration key\n"
        "penstockd --version\n");
    return code;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},   {"check", no_argument, NULL, 'C'},
        {"replay", required_argument, NULL, 'r'},   {"feed", required_argument, NULL, 'f'},
        {"date", required_argument, NULL, 'd'},     {"dir", required_argument, NULL, 'D'},
        {"database", required_argument, NULL, 'B'}, {"eod", no_argument, NULL, 'e'},
        {"rows", required_argument, NULL, 'n'},     {"hard-reset", no_argument, NULL, 'H'},
        {"no-replay", no_argument, NULL, 'N'},      {"yes", no_argument, NULL, 'y'},
        {"json", no_argument, NULL, 'j'},           {"help-config", no_argument, NULL, 'k'},
        {"markdown", no_argument, NULL, 'm'},       {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},           {0}};
    struct replay_options replay = {.rows = 10};
    struct start_options start = {0};
    const char *path = NULL;
    bool check = false, help_config = false, markdown = false;
    int o;
    char junk;
    while ((o = getopt_long(argc, argv, "c:h", options, NULL)) != -1)
        switch (o) {
        case 'c':
            path = optarg;
            break;
        case 'C':
            check = true;
            break;
        case 'r':
            if (replay.nfiles == REPLAY_FILES)
                return usage(stderr, 2);
            replay.file[replay.nfiles++] = optarg;
            break;
        case 'f':
            replay.feed = optarg;
            break;
        case 'd':
            replay.date = optarg;
            break;
        case 'D':
            replay.dir = optarg;
            break;
        case 'B':
            replay.database = optarg;
            break;
        case 'e':
            replay.eod = true;
            break;
        case 'n':
            if (sscanf(optarg, "%d%c", &replay.rows, &junk) != 1 || replay.rows < 0) {
                fprintf(stderr, "penstockd: --rows %s is no number\n", optarg);
                return 2;
            }
            break;
        case 'H':
            start.hard_reset = true;
            break;
        case 'N':
            start.no_replay = true;
            break;
        case 'y':
            start.yes = true;
            break;
        case 'j':
            replay.json = true;
            break;
        case 'k':
            help_config = true;
            break;
        case 'm':
            markdown = true;
            break;
        case 'v':
            printf("penstockd %s\n", PST_VERSION);
            return 0;
        case 'h':
            return usage(stdout, 0);
        default:
            return usage(stderr, 2);
        }
    while (optind < argc && replay.nfiles && replay.nfiles < REPLAY_FILES)
        replay.file[replay.nfiles++] = argv[optind++];
    if (optind < argc) {
        fprintf(stderr, "penstockd: what is '%s'?\n", argv[optind]);
        return usage(stderr, 2);
    }
    if (help_config) {
        (markdown ? config_markdown : config_help)(stdout);
        return 0;
    }
    if (!path && !replay.nfiles)
        return usage(stderr, 2);
    struct config *config = NULL;
    struct err err = {0};
    if (path && !config_load(path, &config, &err)) {
        fprintf(stderr, "penstockd: %s\n", err.text);
        return 2;
    }
    if (check && !loading_check(config, &err)) {
        fprintf(stderr, "penstockd: %s\n", err.text);
        return 2;
    }
    if (check)
        return check_run(config, stdout);
    if (replay.nfiles)
        return replay_run(&replay, config);
    if ((start.hard_reset || start.no_replay) && !start.yes)
        return start_options_warn(&start, config);
    static struct daemon d;
    d.options = start;
    if (!daemon_open(&d, path, config, &err)) {
        fprintf(stderr, "penstockd: %s\n", err.text);
        return err.code == RECOVERY_REFUSED ? 3 : 1;
    }
    daemon_run(&d);
    return daemon_close(&d);
}
