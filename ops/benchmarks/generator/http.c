/* Loads a tracker of this machine with HTTP announces (BEP 3, BEP 23). */
#define _GNU_SOURCE
#include "load.h"
#include "report.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define ANSWER 16384
#define REQUEST 1024
#define LOST_NS (5 * SECOND_NS)
#define LOOK_NS (SECOND_NS / 10)

enum state { IDLE, OPENING, WAITING };

static const char *help =
    "Usage: http --server ADDRESS:PORT --fixture FILE [option ...]\n"
    "  --seconds N, --count N         how long, or how many announces (default 3 seconds)\n"
    "  --rate N                       so many a second; latency counts from the planned time\n"
    "  --in-flight N                  connections at a time (64)\n"
    "  --keep-alive                   many announces on a connection; without it each has its own\n"
    "  --fill                         every peer of every torrent once, with event=started\n"
    "  --torrents N --members N       only the first so many of the fixture\n"
    "  --peers N                      peers in each torrent (50)\n"
    "  --leech --keyless --numwant N --window-seconds N\n";

static struct connection {
    int socket; /* -1: none */
    enum state state;
    uint64_t since, sent;
    size_t length, head;
    long body; /* its length by the head; -1: up to the end of the connection */
    char answer[ANSWER + 1];
} connections[MOST_IN_FLIGHT];
static int vacant[MOST_IN_FLIGHT], vacancies, epoll;
static struct options options;

static size_t write_request(char *request) {
    struct announce made = next_announce(&options);
    return (size_t)snprintf(
        request, REQUEST,
        "GET /announce%s%s?info_hash=%s&peer_id=%s&port=%u&uploaded=%llu&downloaded=%llu&left=%llu"
        "&corrupt=0&key=%08X%s&numwant=%d&compact=1&no_peer_id=1&supportcrypto=1&redundant=0 "
        "HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: trackarr-bench/1\r\n"
        "Accept-Encoding: gzip\r\nConnection: %s\r\n\r\n",
        made.key ? "/" : "", made.key ? made.key : "", escaped_hash(made.torrent), made.peer_id,
        made.port, (unsigned long long)made.uploaded, (unsigned long long)made.downloaded,
        (unsigned long long)made.left, made.client_key, made.started ? "&event=started" : "",
        options.numwant, options.keep_alive ? "keep-alive" : "close");
}

static void vacate(struct connection *own) {
    own->state = IDLE;
    vacant[vacancies++] = (int)(own - connections);
}

static void hang_up(struct connection *own) {
    close(own->socket);
    own->socket = -1;
}

static void give_up(struct connection *own) {
    count_failure();
    if (own->socket >= 0) hang_up(own);
    vacate(own);
}

static void watch(struct connection *own, uint32_t events, int how) {
    struct epoll_event event = {.events = events, .data.ptr = own};
    if (epoll_ctl(epoll, how, own->socket, &event)) {
        perror("epoll_ctl");
        exit(1);
    }
}

/* Gives false while the connection is not there yet. */
static bool send_request(struct connection *own) {
    static char request[REQUEST];
    static size_t length; /* of one that was made but could not be sent yet */
    if (!length) length = write_request(request);
    ssize_t sent = send(own->socket, request, length, MSG_NOSIGNAL);
    if (sent < 0 && (errno == EAGAIN || errno == ENOTCONN)) return false;
    if (sent != (ssize_t)length) {
        give_up(own);
        return true;
    }
    length = 0;
    own->state = WAITING;
    own->length = own->head = 0;
    own->body = -1;
    return true;
}

static void open_connection(struct connection *own) {
    int on = 1;
    own->state = OPENING;
    own->socket = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(own->socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(own->socket, (struct sockaddr *)&options.server, sizeof options.server) &&
        errno != EINPROGRESS) {
        give_up(own);
        return;
    }
    /* On loopback the connection is there by now, unless the tracker's queue is full. */
    bool ready = send_request(own);
    if (own->state != IDLE) watch(own, ready ? EPOLLIN : EPOLLOUT, EPOLL_CTL_ADD);
}

static void begin_due(uint64_t now) {
    uint64_t since;
    /* Not more often, as a connection that is refused makes room at once. */
    for (int turn = vacancies; turn > 0 && take_turn(now, &since); turn--) {
        struct connection *own = &connections[vacant[--vacancies]];
        own->since = since;
        own->sent = now;
        if (own->socket < 0) open_connection(own);
        else if (!send_request(own)) give_up(own);
    }
}

static void read_head(struct connection *own) {
    char *end = memmem(own->answer, own->length, "\r\n\r\n", 4);
    if (!end) return;
    own->head = (size_t)(end - own->answer) + 4;
    char *found = strcasestr(own->answer, "content-length:");
    if (found && found < end) own->body = strtol(found + 15, 0, 10);
}

static bool closes(const struct connection *own) {
    const char *found = strcasestr(own->answer, "connection: close");
    return !options.keep_alive || (found && found < own->answer + own->head);
}

static void finish(struct connection *own, uint64_t now, bool ended) {
    const char *body = own->answer + own->head;
    size_t length = own->length - own->head;
    bool refused = strncmp(own->answer, "HTTP/1.", 7) || strncmp(own->answer + 9, "200", 3) ||
                   memmem(body, length, "14:failure reason", 17);
    if (refused) {
        count_error(length ? body : own->answer, length ? length : own->head);
    } else {
        const char *peers = memmem(body, length, "5:peers", 7);
        count_answer(own->since, now, peers ? (int)strtol(peers + 7, 0, 10) / 6 : 0);
    }
    if (ended || closes(own)) hang_up(own);
    vacate(own);
}

static void receive(struct connection *own) {
    ssize_t count = recv(own->socket, own->answer + own->length, ANSWER - own->length, 0);
    if (count < 0 && errno == EAGAIN) return;
    if (own->state == IDLE) { /* a kept connection the tracker ended */
        hang_up(own);
        return;
    }
    if (count < 0 || (count == 0 && !(own->head && own->body < 0))) {
        give_up(own);
        return;
    }
    own->length += (size_t)count;
    own->answer[own->length] = 0;
    if (!own->head) read_head(own);
    bool whole = own->head && own->body >= 0 && own->length >= own->head + (size_t)own->body;
    if (whole || count == 0) finish(own, now_ns(), count == 0);
    else if (own->length == ANSWER) give_up(own);
}

static void advance(struct connection *own) {
    if (own->socket < 0) return;
    if (own->state != OPENING) {
        receive(own);
        return;
    }
    int fault = 0;
    socklen_t size = sizeof fault;
    getsockopt(own->socket, SOL_SOCKET, SO_ERROR, &fault, &size);
    if (fault) give_up(own);
    else if (send_request(own) && own->state == WAITING) watch(own, EPOLLIN, EPOLL_CTL_MOD);
}

static void drop_lost(uint64_t now) {
    static uint64_t looked;
    if (now - looked < LOOK_NS) return;
    looked = now;
    for (int at = 0; at < options.in_flight; at++) {
        struct connection *own = &connections[at];
        if (own->state != IDLE && now - own->sent > LOST_NS) {
            count_lost();
            hang_up(own);
            vacate(own);
        }
    }
}

static void wait_for_events(void) {
    static struct epoll_event events[MOST_IN_FLIGHT];
    int most = (int)(LOOK_NS / 1000000);
    if (options.rate > 0) {
        await_beat();
        most = 0;
    }
    int count = epoll_wait(epoll, events, MOST_IN_FLIGHT, most);
    if (count < 0 && errno != EINTR) {
        perror("epoll_wait");
        exit(1);
    }
    for (int at = 0; at < count; at++) advance(events[at].data.ptr);
}

int main(int argc, char **argv) {
    options = read_options(argc, argv, help);
    load_fixture(&options);
    epoll = epoll_create1(0);
    for (int at = 0; at < options.in_flight; at++) {
        connections[at].socket = -1;
        vacant[vacancies++] = at;
    }
    start_run(&options);
    uint64_t now = now_ns();
    while (!run_is_over(now) || vacancies < options.in_flight) {
        drop_lost(now);
        begin_due(now);
        wait_for_events();
        now = now_ns();
        report_window(now);
    }
    report_run(now);
    return 0;
}
