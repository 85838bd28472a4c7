/* What both load generators share: options, the fixture, the announces, the pace. */
#ifndef TRACKARR_LOAD_H
#define TRACKARR_LOAD_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MOST_IN_FLIGHT 1024
#define KEY_DIGITS 32
#define SECOND_NS 1000000000ull

/* How to load which tracker; filled from the command line by `read_options`. */
struct options {
    struct sockaddr_in server;
    const char *fixture;
    double seconds;        /* how long to send, unless there is a count */
    double rate;           /* requests a second by the clock; 0: as soon as an answer made room */
    double window_seconds; /* print a report line this often as well; 0: only at the end */
    long count;            /* requests in all; 0: as many as fit into the seconds */
    int in_flight;
    int numwant;
    uint32_t torrents;     /* the first so many of the fixture; 0: all */
    uint32_t members;
    uint32_t peers;        /* in each torrent */
    bool fill;             /* walk all peers of all torrents once, each with event=started */
    bool leech;            /* nobody seeds, so that every answer is full */
    bool keyless;          /* for trackers that know no members */
    bool keep_alive;       /* HTTP: keep connections */
    bool connect_each;     /* UDP: a connection id for every announce, as clients do */
};

/* One announce to be sent. Totals are bytes and never fall, neither within a run nor between. */
struct announce {
    uint32_t torrent, peer;
    const char *key;
    char peer_id[21];
    uint64_t uploaded, downloaded, left;
    uint32_t client_key;
    uint16_t port;
    bool started;
};

struct options read_options(int argc, char **argv, const char *help);
/* Reads the fixture into memory and makes room for the totals; ends the program where it can't. */
void load_fixture(struct options *options);
const uint8_t *info_hash(uint32_t torrent);
/* The hash with every byte but letters and digits escaped, as it stands in a query. */
const char *escaped_hash(uint32_t torrent);
struct announce next_announce(const struct options *options);

uint64_t now_ns(void);

/* The pace of a run. `take_turn` says whether one more request is due, and since when:
   by the clock when there is a rate, so that a stall of the tracker is seen by every request
   that should have been sent meanwhile, else at once. */
void start_run(const struct options *options);
bool take_turn(uint64_t now, uint64_t *since);
bool run_is_over(uint64_t now);
/* Sleeps until the next beat of a load by the clock, when requests are sent and answers read. */
void await_beat(void);

#endif
