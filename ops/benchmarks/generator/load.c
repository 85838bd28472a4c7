/* What both load generators share: options, the fixture, the announces and the pace. */
#define _GNU_SOURCE
#include "load.h"
#include "report.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* How long a run of a given count may take. */
#define MOST_SECONDS 600
/* The shortest slice there is: whoever has longer ones makes way when this program wakes. */
#define SHORT_SLICE_NS 100000
/* A load by the clock looks at clock and sockets so often. Woken for every request and answer it
   would use its core up, and what it is late then would count as time of the tracker. The wait for
   a beat counts so too, half of it on average. */
#define BEAT_NS 500000
/* Bytes a peer says to have sent more from one announce to the next. */
#define STEP 65536ull
/* Seconds since 1970 when totals of the benchmark began to count. */
#define TOTALS_BEGAN 1700000000ull

static uint8_t (*hashes)[20];
static char (*escaped)[64];
static char (*keys)[KEY_DIGITS + 1];
static uint32_t *announced;
static uint64_t base_total;
static uint64_t random_state = 88172645463325252ull;
static struct {
    uint64_t began, ends;
    long taken, count;
    double rate;
} run;

uint64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * SECOND_NS + (uint64_t)time.tv_nsec;
}

static uint64_t next_random(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static void refuse(const char *sentence) {
    fprintf(stderr, "%s\n", sentence);
    exit(2);
}

static double number(const char *text, double least, double most) {
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value >= least && value <= most)) {
        fprintf(stderr, "%s is not a number from %g to %g.\n", text, least, most);
        exit(2);
    }
    return value;
}

static void read_server(struct options *options, const char *text) {
    char host[32];
    const char *colon = strrchr(text, ':');
    if (!colon || (size_t)(colon - text) >= sizeof host)
        refuse("The server is an address and a port, 127.0.0.1:6969.");
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = 0;
    options->server.sin_family = AF_INET;
    options->server.sin_port = htons((uint16_t)number(colon + 1, 1, 65535));
    if (inet_pton(AF_INET, host, &options->server.sin_addr) != 1)
        refuse("The server is an address and a port, 127.0.0.1:6969.");
    if (ntohl(options->server.sin_addr.s_addr) >> 24 != 127)
        refuse("This load goes to the own machine only: give an address of 127.0.0.0/8.");
}

struct options read_options(int argc, char **argv, const char *help) {
    static const struct option known[] = {
        {"server", 1, 0, 's'},     {"fixture", 1, 0, 'F'},        {"seconds", 1, 0, 't'},
        {"rate", 1, 0, 'r'},       {"window-seconds", 1, 0, 'W'}, {"count", 1, 0, 'c'},
        {"in-flight", 1, 0, 'w'},  {"numwant", 1, 0, 'n'},        {"torrents", 1, 0, 'T'},
        {"members", 1, 0, 'U'},    {"peers", 1, 0, 'P'},          {"fill", 0, 0, 'f'},
        {"leech", 0, 0, 'L'},      {"keyless", 0, 0, 'K'},        {"keep-alive", 0, 0, 'k'},
        {"connect-each", 0, 0, 'C'}, {"help", 0, 0, 'h'},         {0, 0, 0, 0}};
    struct options options = {.seconds = 3, .in_flight = 64, .numwant = 50, .peers = 50};
    int letter;
    while ((letter = getopt_long(argc, argv, "", known, 0)) != -1) {
        switch (letter) {
        case 's': read_server(&options, optarg); break;
        case 'F': options.fixture = optarg; break;
        case 't': options.seconds = number(optarg, 0.01, 86400); break;
        case 'r': options.rate = number(optarg, 0.1, 1e7); break;
        case 'W': options.window_seconds = number(optarg, 0.1, 86400); break;
        case 'c': options.count = (long)number(optarg, 1, 1e9); break;
        case 'w': options.in_flight = (int)number(optarg, 1, MOST_IN_FLIGHT); break;
        case 'n': options.numwant = (int)number(optarg, -1, 200); break;
        case 'T': options.torrents = (uint32_t)number(optarg, 1, 1e7); break;
        case 'U': options.members = (uint32_t)number(optarg, 1, 1e7); break;
        case 'P': options.peers = (uint32_t)number(optarg, 1, 55000); break;
        case 'f': options.fill = true; break;
        case 'L': options.leech = true; break;
        case 'K': options.keyless = true; break;
        case 'k': options.keep_alive = true; break;
        case 'C': options.connect_each = true; break;
        case 'h': fputs(help, stdout); exit(0);
        default: exit(2);
        }
    }
    if (!options.server.sin_port) refuse("Give --server ADDRESS:PORT.");
    if (!options.fixture) refuse("Give --fixture FILE, as `trackarr tracker bench-fixture` made it.");
    return options;
}

static void escape(const uint8_t *hash, char *out) {
    for (int at = 0; at < 20; at++)
        out += isalnum(hash[at]) ? sprintf(out, "%c", hash[at]) : sprintf(out, "%%%02x", hash[at]);
}

static void *grown(void *block, size_t used, size_t size) {
    /* Doubled whenever the number of entries reaches a power of two. */
    if (used & (used - 1)) return block;
    block = realloc(block, (used ? used * 2 : 1) * size);
    if (!block) refuse("There is not enough memory for this fixture.");
    return block;
}

static bool read_hash(const char *text, uint8_t *hash) {
    for (int at = 0; at < 20; at++) {
        unsigned byte;
        if (sscanf(text + 2 * at, "%2x", &byte) != 1) return false;
        hash[at] = (uint8_t)byte;
    }
    return true;
}

void load_fixture(struct options *options) {
    FILE *file = fopen(options->fixture, "r");
    uint32_t torrents = 0, members = 0;
    char line[128];
    if (!file) refuse("The fixture can't be read.");
    while (fgets(line, sizeof line, file)) {
        if (line[0] == 'H' && strlen(line) >= 42) {
            hashes = grown(hashes, torrents, sizeof *hashes);
            escaped = grown(escaped, torrents, sizeof *escaped);
            if (!read_hash(line + 2, hashes[torrents])) refuse("The fixture has a broken hash.");
            escape(hashes[torrents], escaped[torrents]);
            torrents++;
        } else if (line[0] == 'K' && strlen(line) >= 2 + KEY_DIGITS) {
            keys = grown(keys, members, sizeof *keys);
            memcpy(keys[members], line + 2, KEY_DIGITS);
            keys[members++][KEY_DIGITS] = 0;
        }
    }
    fclose(file);
    if (!torrents || !members) refuse("The fixture has no hashes or no keys.");
    if (options->torrents > torrents || options->members > members)
        refuse("The fixture has fewer torrents or members than asked for.");
    if (!options->torrents) options->torrents = torrents;
    if (!options->members) options->members = members;
    announced = calloc((size_t)options->torrents * options->peers, sizeof *announced);
    if (!announced) refuse("There is not enough memory for so many peers.");
    struct timespec wall;
    clock_gettime(CLOCK_REALTIME, &wall);
    /* A later run begins above where this one can end: a step a millisecond, and less is sent. */
    base_total = ((uint64_t)wall.tv_sec - TOTALS_BEGAN) * 1000 * STEP;
    random_state ^= now_ns() | 1;
    if (options->fill && !options->count)
        options->count = (long)options->torrents * (long)options->peers;
}

const uint8_t *info_hash(uint32_t torrent) { return hashes[torrent]; }

const char *escaped_hash(uint32_t torrent) { return escaped[torrent]; }

struct announce next_announce(const struct options *options) {
    static uint64_t walked;
    struct announce made;
    if (options->fill) {
        made.torrent = (uint32_t)(walked % options->torrents);
        made.peer = (uint32_t)(walked++ / options->torrents % options->peers);
    } else {
        uint64_t value = next_random();
        made.torrent = (uint32_t)((value >> 8 & 0xffffffff) % options->torrents);
        made.peer = (uint32_t)((value >> 40) % options->peers);
    }
    uint32_t turn = announced[(size_t)made.torrent * options->peers + made.peer]++;
    bool leeches = options->leech || made.peer % 5 == 0;
    made.key = options->keyless ? 0 : keys[(made.torrent * 7ull + made.peer) % options->members];
    snprintf(made.peer_id, sizeof made.peer_id, "-TB0100-%06u%06u", made.torrent % 1000000,
             made.peer % 1000000);
    made.uploaded = base_total + turn * STEP;
    made.downloaded = leeches ? base_total / 4 + turn * STEP / 4 : base_total / 4;
    made.left = leeches ? 1ull << 40 : 0;
    made.client_key = (made.torrent * 2654435761u) ^ made.peer;
    made.port = (uint16_t)(10000 + made.peer);
    made.started = options->fill;
    return made;
}

/* Lets this program run as soon as it is woken, without a larger share of its core. For loads by
   the clock: what waits for other work there would count as time of the tracker. */
static void be_prompt(void) {
    /* The attributes of sched_setattr(2), which older C libraries do not know. */
    struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
    } attributes = {.size = sizeof attributes, .policy = SCHED_OTHER, .runtime = SHORT_SLICE_NS};
    prctl(PR_SET_TIMERSLACK, 1000);
    /* Kernels before 6.12 ignore the slice. */
    syscall(SYS_sched_setattr, 0, &attributes, 0);
}

void start_run(const struct options *options) {
    if (options->rate > 0) be_prompt();
    run.began = now_ns();
    start_report(run.began, (uint64_t)(options->window_seconds * SECOND_NS));
    run.ends = run.began + (uint64_t)((options->count ? MOST_SECONDS : options->seconds) * SECOND_NS);
    run.count = options->count;
    run.rate = options->rate;
}

static uint64_t due_at(void) {
    return run.began + (uint64_t)((double)run.taken / run.rate * (double)SECOND_NS);
}

bool take_turn(uint64_t now, uint64_t *since) {
    if (now >= run.ends || (run.count && run.taken >= run.count)) return false;
    *since = now;
    if (run.rate > 0) {
        uint64_t due = due_at();
        if (due > now) return false;
        *since = due;
    }
    run.taken++;
    return true;
}

bool run_is_over(uint64_t now) {
    return now >= run.ends || (run.count && run.taken >= run.count);
}

void await_beat(void) {
    uint64_t next = (now_ns() / BEAT_NS + 1) * BEAT_NS;
    struct timespec at = {.tv_sec = (time_t)(next / SECOND_NS), .tv_nsec = (long)(next % SECOND_NS)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, 0) == EINTR) continue;
}
