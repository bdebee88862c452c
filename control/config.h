/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config.h - the configuration: one YAML file, read once, constant afterwards.
 *
 * Every key is one line of keys.def, which holds its type, default, range and sentence; the structs
 * below have a member of the same name for each (checked when compiling). What a member means is
 * said there and by `penstockd --help-config`, not repeated here. `file_line` is where the mapping
 * stands in the file, 0 if it does not.
 *
 * Owner: control. config_load allocates (one arena, freed as a whole), reads files and resolves
 * zones; the result is not changed any more, so that any thread may read it. Only config_load,
 * config_parse and config_default read the environment (TZDIR, host name).
 *
 * Errors: one sentence, FILE:LINE: KEY: what is wrong; what to do. An unknown key names the
 * nearest, a parameter of the tickerplant template its key here, and a key that has no effect in
 * this version is refused. Bounds: file <= 4 MiB, nesting <= 16, one document; anchors, aliases and
 * tags are refused, so a small file cannot become a large structure. libyaml's document interface
 * is used directly (not libcyaml) because every node there has its line, and the nearest key can be
 * named.
 *
 * Texts of values: sizes are bytes with k, M, G, T for 2^10, 2^20, 2^30, 2^40; counts have k, M, G
 * for 10^3, 10^6, 10^9; durations are numbers (decimals allowed) with ns, us, ms, s, m or h; times
 * [-]HH:MM[:SS]; dates YYYY-MM-DD, YYYY.MM.DD or YYYYMMDD. In memory: bytes, ns, seconds after
 * midnight, days since 2000-01-01.
 */
#pragma once

#include <core/base.h>
#include "calendar.h"
#include "interval.h"

#define CONFIG_FILE_MAX  (4u << 20)
#define CONFIG_DEPTH_MAX 16
#define CONFIG_UNSET     INT64_MIN /* a date or time of day that is not given */

enum config_durability { CONFIG_ASYNC, CONFIG_WRITTEN, CONFIG_DURABLE };
enum config_hugepages { CONFIG_HUGE_AUTO, CONFIG_HUGE_ON, CONFIG_HUGE_OFF };
enum config_buffer_limit { CONFIG_LIMIT_SPILL, CONFIG_LIMIT_PASSTHROUGH, CONFIG_LIMIT_END };
enum config_existing { CONFIG_REFUSE, CONFIG_MERGE, CONFIG_SUPERSEDE };
enum config_consumer {
    CONFIG_CONSUMER_DISCONNECT,
    CONFIG_CONSUMER_CATCHUP,
    CONFIG_CONSUMER_CONFLATE,
    CONFIG_CONSUMER_SKIP
};
enum config_tls { CONFIG_TLS_OFF, CONFIG_TLS_ALLOWED, CONFIG_TLS_REQUIRED };
enum config_full { CONFIG_FULL_BLOCK, CONFIG_FULL_DROP, CONFIG_FULL_FAILOVER };
enum config_wait { CONFIG_SPIN, CONFIG_ADAPTIVE, CONFIG_SLEEP };
enum config_checksum { CONFIG_SUM_IGNORE, CONFIG_SUM_COUNT, CONFIG_SUM_DROP };
enum config_membership { CONFIG_JOIN_KERNEL, CONFIG_JOIN_NONE };
enum config_decoder { CONFIG_DECODE_NONE, CONFIG_DECODE_ITCH50, CONFIG_DECODE_IEX };
enum config_role { CONFIG_LINE_NORMAL, CONFIG_LINE_RETRANSMISSION };
enum config_order { CONFIG_BE, CONFIG_LE };
enum config_message_order { CONFIG_ORDER_SAME, CONFIG_ORDER_BE, CONFIG_ORDER_LE };
enum config_counts { CONFIG_COUNTS_MESSAGES, CONFIG_COUNTS_PACKETS };
enum config_in { CONFIG_IN_PACKET, CONFIG_IN_MESSAGE };
enum config_as { CONFIG_AS_AUTO, CONFIG_AS_NUMBER, CONFIG_AS_TEXT, CONFIG_AS_HEX };
enum config_includes { CONFIG_INCLUDES_HEADER, CONFIG_INCLUDES_PAYLOAD };
enum config_heartbeat_seq { CONFIG_HB_NEXT, CONFIG_HB_LAST, CONFIG_HB_OWN, CONFIG_HB_NONE };
enum config_time_unit { CONFIG_NS, CONFIG_US, CONFIG_MS, CONFIG_S };
enum config_epoch { CONFIG_EPOCH_UNIX, CONFIG_EPOCH_MIDNIGHT };
enum config_time_type { CONFIG_GMT, CONFIG_LOCAL };
enum config_column_type { /* the order of keys.def; kdb+'s type numbers are config_kdb_type() */
                          CONFIG_BOOLEAN,
                          CONFIG_GUID,
                          CONFIG_BYTE,
                          CONFIG_SHORT,
                          CONFIG_INT,
                          CONFIG_LONG,
                          CONFIG_REAL,
                          CONFIG_FLOAT,
                          CONFIG_CHAR,
                          CONFIG_SYMBOL,
                          CONFIG_TIMESTAMP,
                          CONFIG_MONTH,
                          CONFIG_DATE,
                          CONFIG_TIMESPAN,
                          CONFIG_MINUTE,
                          CONFIG_SECOND,
                          CONFIG_TIME,
                          CONFIG_STRING
};

struct config_endpoint {
    uint32_t address; /* host byte order; 239.1.1.1 is 0xEF010101 */
    uint16_t port;
};
struct config_dates {
    int32_t *at; /* ascending, no repeats */
    uint32_t count;
};
struct config_names {
    const char **at;
    uint32_t count;
};
#define CONFIG_LIST(section)                                                                       \
    struct config_##section##_list {                                                               \
        struct config_##section *at;                                                               \
        uint32_t count;                                                                            \
    }

struct config_access {
    int file_line;
    struct config_names view, operate, admin;
};
struct config_ipc {
    int file_line; /* 0: no `ipc` in the file, no TCP port */
    const char *address;
    int64_t tickerplant, rdb, hdb, threads, connections;
    const char *users, *validator, *certificate, *key;
    int tls;
    int64_t auth_rate, login_timeout, heartbeat, message_max, memory;
};
struct config_cpus {
    int file_line;
    int64_t control, log, ledger, rdb, writedown;
};
struct config_alarms {
    int file_line;
    int64_t clear_after, durable_lag, disk_full_in, ring_used, symbols_used, cursor_lag, rdb_lag,
        rdb_used, gaps_per_minute, line_loss_ratio, clock_error;
};
struct config_calendar {
    int file_line;
    const char *zone;
    int64_t eod_time, weekend;
    struct config_dates holidays;
    int64_t late_window;
};

struct config_named_calendar {
    int file_line;
    const char *name, *zone;
    int64_t eod_time, weekend;
    struct config_dates holidays;
    int64_t late_window;
    struct config_names tables;
};
CONFIG_LIST(named_calendar);

struct config_group {
    int file_line;
    struct config_endpoint group;
    const char *feed, *line;
    uint32_t source; /* host byte order, 0: any */
};
CONFIG_LIST(group);
struct config_port {
    int file_line;
    const char *name, *device;
    int64_t lcore, rx_descriptors;
    bool promiscuous, hw_timestamp;
    int64_t mtu;
    int checksum, membership;
    const char *interface;
    struct config_group_list groups;
};
CONFIG_LIST(port);

struct config_line {
    int file_line;
    const char *name;
    int role;
};
CONFIG_LIST(line);
struct config_feed {
    int file_line;
    const char *name, *framing;
    int decoder;
    const char *zone;
    int64_t date; /* CONFIG_UNSET: from the session's first packet */
    const char *hours;
    struct config_dates holidays;
    int64_t window_count, window_bytes, window_time, silence, max_sessions;
    struct config_line_list lines;
    /* Resolved: */
    uint32_t calendar; /* that owns the tables of its decoder, or undecoded without one */
    const struct tzone *tz;
    struct hours open_hours;
};
CONFIG_LIST(feed);

struct config_field {
    int file_line;
    int64_t at, width;
    int in;
};
struct config_stream_key {
    int file_line;
    int64_t at, width;
    int in, as;
    bool session;
};
CONFIG_LIST(stream_key);
struct config_length {
    int file_line;
    int64_t at, width;
    int includes;
};
struct config_message_length {
    int file_line;
    int64_t at, width;
    int order;
    bool includes_self;
    int64_t add;
};
struct config_message {
    int file_line;
    struct config_message_length length;
    int64_t header, body;
};
struct config_match {
    int file_line;
    int64_t at, width;
    uint64_t mask, value;
    bool negate;
    int in;
    bool or_else;
};
CONFIG_LIST(match);
struct config_send_time {
    int file_line;
    int64_t at, width;
    int unit, epoch;
    int64_t fraction_at;
};
struct config_framing {
    int file_line;
    const char *name;
    int64_t header, body;
    int order;
    struct config_stream_key_list stream_key;
    struct config_field seq, count;
    struct config_length length;
    struct config_field offset;
    int counts;
    int64_t first_seq, padding;
    struct config_message message;
    struct config_match_list data, heartbeat;
    int heartbeat_seq;
    struct config_match_list end_of_session, reset, unsequenced, retransmitted;
    struct config_send_time send_time;
};
CONFIG_LIST(framing);

struct config_column {
    int file_line;
    const char *name;
    int type;
};
CONFIG_LIST(column);
struct config_table {
    int file_line;
    const char *name;
    struct config_column_list columns;
    struct config_names key;
};
CONFIG_LIST(table);
struct config_view {
    int file_line;
    const char *name, *sql;
};
CONFIG_LIST(view);

/* The members of a load_file are what storage/load/recipe.h is made of (load_config.h). */
enum config_allocation { CONFIG_LOAD_DYNAMIC, CONFIG_LOAD_STATIC };
enum config_load_memory { CONFIG_MEMORY_AUTO, CONFIG_MEMORY_HOST, CONFIG_MEMORY_CGROUP };
enum config_finished { CONFIG_FINISHED_KEEP, CONFIG_FINISHED_MOVE, CONFIG_FINISHED_DELETE };
enum config_batch_by { CONFIG_BY_COUNT, CONFIG_BY_TRIGGER, CONFIG_BY_MANIFEST, CONFIG_BY_EACH };
enum config_load_format {
    CONFIG_LOAD_TEXT,
    CONFIG_LOAD_ITCH50,
    CONFIG_LOAD_PCAP,
    CONFIG_LOAD_SPLAYED,
    CONFIG_LOAD_PLUGIN
};
enum config_load_quote { CONFIG_QUOTE_DOUBLE, CONFIG_QUOTE_SINGLE, CONFIG_QUOTE_NONE };
enum config_load_escape { CONFIG_ESCAPE_DOUBLE, CONFIG_ESCAPE_BACKSLASH };
enum config_load_header { CONFIG_HEADER_AUTO, CONFIG_HEADER_YES, CONFIG_HEADER_NO };
enum config_load_decimal { CONFIG_DECIMAL_POINT, CONFIG_DECIMAL_COMMA };
enum config_date_format { CONFIG_DATES_NONE, CONFIG_DATES_DMY, CONFIG_DATES_MDY, CONFIG_DATES_YMD };
enum config_load_symbol { CONFIG_SYMBOL_COLUMN, CONFIG_SYMBOL_NAME };

struct config_load_batch {
    int file_line;
    const char *name, *match;
    int by;
    const char *suffix;
    int64_t deadline; /* CONFIG_UNSET: none */
    int64_t priority;
    bool partial, supersede;
    int64_t gather_timeout;
};
CONFIG_LIST(load_batch);
struct config_load_map {
    int file_line;
    const char *name, *column;
};
CONFIG_LIST(load_map);
struct config_load_scale {
    int file_line;
    const char *name, *factor;
};
CONFIG_LIST(load_scale);
struct config_load_time {
    int file_line;
    const char *name, *format;
};
CONFIG_LIST(load_time);
struct config_load_constant {
    int file_line;
    const char *name, *value;
};
CONFIG_LIST(load_constant);
struct config_load_option {
    int file_line;
    const char *name, *value;
};
CONFIG_LIST(load_option);
struct config_load_file {
    int file_line;
    const char *name, *match;
    int format;
    const char *table, *feed, *session, *sym, *separator;
    int quote, escape, header;
    int64_t skip_lines;
    const char *comment;
    struct config_names columns;
    struct config_load_map_list map;
    struct config_names optional, nulls;
    int decimal;
    const char *thousands;
    bool ragged, rest, trim;
    struct config_load_scale_list scale;
    const char *time_format;
    struct config_load_time_list times;
    const char *zone;
    int date_format;
    const char *date;
    int symbol;
    struct config_load_constant_list constants;
    int64_t max_rejects;
    bool partial;
    const char *expansion;
    const char *read_function, *post_read_function, *save_function;
    struct config_load_option_list options;
};
CONFIG_LIST(load_file);
struct config_load {
    int file_line; /* 0: no `load` in the file, no loader */
    struct config_names staging;
    const char *temporary;
    int64_t workers;
    int allocation;
    bool large_worker;
    int64_t worker_memory, large_worker_memory, file_size_limit, memory_buffer;
    bool compounding;
    int64_t limit_min, limit_max, throttle;
    int memory;
    int64_t retries, retry_backoff, stuck_after, stable_after, scan_interval;
    bool newly_only;
    int finished;
    const char *finished_directory, *quarantine_directory, *rejects_directory;
    struct config_names post_batch_exec;
    int64_t post_batch_timeout;
    struct config_load_batch_list batches;
    struct config_load_file_list files;
};

/* A group of real-time processes (rtp.h). */
enum config_rtp_mode { /* the order of rtp_link.h's */
                       CONFIG_RTP_SINGLE,
                       CONFIG_RTP_ROUND_ROBIN,
                       CONFIG_RTP_LEAST_LOADED,
                       CONFIG_RTP_BROADCAST
};
enum config_rtp_start { CONFIG_RTP_AUTO, CONFIG_RTP_MANUAL };
struct config_rtp_insert {
    int file_line;
    const char *name, *table;
};
CONFIG_LIST(rtp_insert);
struct config_rtp_library {
    int file_line;
    const char *name, *file;
};
CONFIG_LIST(rtp_library);
struct config_rtp_option {
    int file_line;
    const char *name, *value;
};
CONFIG_LIST(rtp_option);
struct config_rtp {
    int file_line;
    const char *name;
    struct config_names plugins, subscriptions;
    int64_t processes;
    int mode;
    bool vanilla;
    struct config_names processors;
    struct config_rtp_insert_list insert;
    struct config_rtp_library_list libraries;
    struct config_rtp_option_list options;
    const char *buffer_start, *buffer_end;
    int64_t memory, stuck;
    int start;
};
CONFIG_LIST(rtp);

struct config {
    int file_line;
    const char *instance, *state_directory, *log_directory, *log_prefix, *spill_directory,
        *run_directory, *control_socket, *socket_group;
    struct config_access access;
    int durability, log_full;
    int64_t retry_interval, log_timeout, log_low_space, log_depth, log_preallocate, log_ballast,
        ring_size, peak_rate, symbols_max, max_new_symbols;
    int64_t intraday_freq, eoi_offset, log_keep;
    struct config_names intraday_tables;
    const char *database;
    int existing_partition;
    int64_t database_low_space;
    const char *hdb_lockfile;
    int64_t rdb_memory, eod_retry, pin_grace;
    int hugepages, wait;
    struct config_cpus cpus;
    int64_t check_interval;
    struct config_alarms alarms;
    struct config_names dpdk_arguments;
    int64_t dpdk_memory;
    const char *log_recovery_function, *initial_state_function;
    bool buffer_enabled, buffer_concurrent;
    const char *buffer_function;
    int64_t buffer_limit;
    int buffer_limit_policy;
    bool include_columns;
    int time_type;
    int64_t time_offset;
    bool log_update_error;
    int64_t error_log_size, access_log_size;
    const char *log_streamer, *messaging_server, *publish_channel, *subscription_channel;
    struct config_names subscription_table_list;
    int64_t pub_freq, consumer_alert_size, consumer_disconnect_size;
    int consumer_policy;
    bool multi_publish, publish_first;
    const char *kdb_log_directory, *kdb_log_name;
    struct config_ipc ipc;
    struct config_load load;
    struct config_calendar calendar;
    int64_t query_processes, query_threads, query_memory, query_timeout, query_rows, query_queue;
    struct config_names plugins, alarm_exec, post_save_exec;
    struct config_rtp_list rtp;
    int64_t mon_cpu;
    struct config_named_calendar_list calendars;
    struct config_port_list ports;
    struct config_feed_list feeds;
    struct config_framing_list framings;
    struct config_table_list tables;
    struct config_view_list views;
    /* Resolved: */
    const char *file;              /* as given to config_load; "(defaults)" */
    struct calendar main_calendar; /* named "default" */
    struct calendar *named;        /* of `calendars`, in their order; calendar i is named[i - 1] */
    struct config_arena *arena;
    struct config *older; /* of a reload: the one before, whose texts may still be in use */
};

/* false, and one sentence in err; then *out is NULL. */
bool config_load(const char *path, struct config **out, struct err *err);
/* The same from text[0 ... size); `file` is used in messages and to find files named in it. */
bool config_parse(const char *file, const char *text, size_t size, struct config **out,
                  struct err *err);
bool config_default(struct config **out, struct err *err);
void config_free(struct config *c); /* NULL is allowed */

/* NULL when there is none of that name. */
const struct config_feed *config_feed_named(const struct config *c, const char *name);
const struct config_framing *config_framing_named(const struct config *c, const char *name);

/* Calendars: 0 the default one, then those of `calendars`. */
uint32_t config_calendars(const struct config *c);
const struct calendar *config_calendar(const struct config *c, uint32_t i);
/* The one that owns a table, of any origin; 0 for tables that none names. */
struct interval_rule config_intervals(const struct config *c);
uint32_t config_calendar_of(const struct config *c, const char *table);

/* A group of real-time processes by name; NULL when there is none. */
const struct config_rtp *config_rtp_named(const struct config *c, const char *name);
/* Is it a table of a built-in processor (core/derived.h) that some group runs? */
bool config_rtp_table(const struct config *c, const char *table);

/* ring_size, or what 0 stands for; a power of two. */
uint64_t config_ring_bytes(const struct config *c);

/* rdb_memory, or what 0 stands for on a machine with `ram` bytes; whole extents. */
uint64_t config_rdb_bytes(const struct config *c, uint64_t ram);

/* kdb+'s type number of a column type; 0 (a general list) for string. */
int config_kdb_type(int column_type);

/* All keys with type, default, range and sentence: plain text, and a Markdown table a section. */
void config_help(FILE *out);
void config_markdown(FILE *out);

/* Every key with its value in force; the YAML can be loaded again and means the same. */
bool config_show_yaml(const struct config *c, FILE *out);
struct json_t *config_show_json(const struct config *c); /* a new reference; NULL: out of memory */

/*
 * What differs from `before` to `after`: key paths such as feeds.itch.silence, in the file's order.
 * An element that came or went is one change, not live. Returns the number of changes, of which the
 * first `max` are in out.
 */
struct config_change {
    char key[160];
    bool live;
};
uint32_t config_diff(const struct config *before, const struct config *after,
                     struct config_change *out, uint32_t max);

/* The live keys at the top and in the mappings there, from `after`; its texts are shared. */
void config_take_live(struct config *c, const struct config *after);
