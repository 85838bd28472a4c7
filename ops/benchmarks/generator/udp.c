/* Loads a tracker of this machine with UDP announces (BEP 15), the key in their options (BEP 41). */
#define _GNU_SOURCE
#include "load.h"
#include "report.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define PACKET 2048
#define RECEIVE_BUFFER (4 << 20)
#define LOST_NS SECOND_NS
#define LOOK_NS (SECOND_NS / 10)
/* A connection id is good for a minute (BEP 15). */
#define RENEW_NS (45 * SECOND_NS)
#define PROTOCOL_ID 0x41727101980ull
#define URL_DATA 2
#define OWN_CONNECT 0xffffffffu

enum action { CONNECT = 0, ANNOUNCE = 1 };
enum state { FREE, CONNECTING, ANNOUNCING };

static const char *help =
    "Usage: udp --server ADDRESS:PORT --fixture FILE [option ...]\n"
    "  --seconds N, --count N         how long, or how many announces (default 3 seconds)\n"
    "  --rate N                       so many a second; latency counts from the planned time\n"
    "  --in-flight N                  answers awaited at a time (64)\n"
    "  --fill                         every peer of every torrent once, with event=started\n"
    "  --connect-each                 ask for a connection id before each announce\n"
    "  --torrents N --members N       only the first so many of the fixture\n"
    "  --peers N                      peers in each torrent (50)\n"
    "  --leech --keyless --numwant N --window-seconds N\n";

static struct slot {
    enum state state;
    uint32_t transaction;
    uint64_t since, sent;
} slots[MOST_IN_FLIGHT];
static int vacant[MOST_IN_FLIGHT], vacancies;
static uint8_t sending[MOST_IN_FLIGHT][PACKET], received[MOST_IN_FLIGHT][PACKET];
static struct iovec sending_at[MOST_IN_FLIGHT], received_at[MOST_IN_FLIGHT];
static struct mmsghdr out[MOST_IN_FLIGHT], in[MOST_IN_FLIGHT];
static int queued, sock;
static struct options options;
static uint64_t connection_id, connected_at;

static uint32_t read32(const uint8_t *at) {
    uint32_t value;
    memcpy(&value, at, 4);
    return be32toh(value);
}

static uint64_t read64(const uint8_t *at) {
    uint64_t value;
    memcpy(&value, at, 8);
    return be64toh(value);
}

static uint8_t *put16(uint8_t *at, uint16_t value) {
    value = htobe16(value);
    return (uint8_t *)memcpy(at, &value, 2) + 2;
}

static uint8_t *put32(uint8_t *at, uint32_t value) {
    value = htobe32(value);
    return (uint8_t *)memcpy(at, &value, 4) + 4;
}

static uint8_t *put64(uint8_t *at, uint64_t value) {
    value = htobe64(value);
    return (uint8_t *)memcpy(at, &value, 8) + 8;
}

static size_t write_connect(uint8_t *packet, uint32_t transaction) {
    put32(put32(put64(packet, PROTOCOL_ID), CONNECT), transaction);
    return 16;
}

static size_t write_announce(uint8_t *packet, uint64_t id, uint32_t transaction) {
    struct announce made = next_announce(&options);
    uint8_t *at = put32(put32(put64(packet, id), ANNOUNCE), transaction);
    at = (uint8_t *)memcpy(at, info_hash(made.torrent), 20) + 20;
    at = (uint8_t *)memcpy(at, made.peer_id, 20) + 20;
    at = put64(put64(put64(at, made.downloaded), made.left), made.uploaded);
    at = put32(put32(at, made.started ? 2 : 0), 0);
    at = put32(put32(at, made.client_key), (uint32_t)options.numwant);
    at = put16(at, made.port);
    if (made.key) {
        static const char path[] = "/announce/";
        *at++ = URL_DATA;
        *at++ = sizeof path - 1 + KEY_DIGITS;
        at = (uint8_t *)memcpy(at, path, sizeof path - 1) + sizeof path - 1;
        at = (uint8_t *)memcpy(at, made.key, KEY_DIGITS) + KEY_DIGITS;
    }
    return (size_t)(at - packet);
}

static void queue_announce(struct slot *slot, uint64_t id, uint64_t now) {
    slot->state = ANNOUNCING;
    slot->sent = now;
    sending_at[queued].iov_len = write_announce(sending[queued], id, slot->transaction);
    queued++;
}

static void queue_connect(struct slot *slot, uint64_t now) {
    slot->state = CONNECTING;
    slot->sent = now;
    sending_at[queued].iov_len = write_connect(sending[queued], slot->transaction);
    queued++;
}

static void flush_queue(void) {
    for (int sent = 0; sent < queued;) {
        int done = sendmmsg(sock, out + sent, (unsigned)(queued - sent), 0);
        if (done >= 0) {
            sent += done;
        } else if (errno == ECONNREFUSED) {
            count_failure(); /* of an earlier packet; this one is still to be sent */
        } else if (errno != EINTR && errno != ENOBUFS && errno != EAGAIN) {
            perror("sendmmsg");
            exit(1);
        }
    }
    queued = 0;
}

static void open_socket(void) {
    int size = RECEIVE_BUFFER;
    struct timeval patience = {.tv_usec = LOOK_NS / 1000};
    sock = socket(AF_INET, SOCK_DGRAM, 0);
    setsockopt(sock, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (sock < 0 || connect(sock, (struct sockaddr *)&options.server, sizeof options.server)) {
        perror("connect");
        exit(1);
    }
    for (int at = 0; at < MOST_IN_FLIGHT; at++) {
        received_at[at] = (struct iovec){received[at], PACKET};
        sending_at[at] = (struct iovec){sending[at], 0};
        in[at].msg_hdr.msg_iov = &received_at[at];
        out[at].msg_hdr.msg_iov = &sending_at[at];
        in[at].msg_hdr.msg_iovlen = out[at].msg_hdr.msg_iovlen = 1;
    }
    for (int at = 0; at < options.in_flight; at++) vacant[vacancies++] = at;
}

/* The id all announces carry unless each asks for its own. */
static void first_connection(void) {
    for (int attempt = 0; attempt < 30; attempt++) {
        uint8_t packet[PACKET];
        if (send(sock, packet, write_connect(packet, OWN_CONNECT), 0) < 0) {
            usleep(100000);
            continue;
        }
        ssize_t length = recv(sock, packet, sizeof packet, 0);
        if (length >= 16 && read32(packet) == CONNECT) {
            connection_id = read64(packet + 8);
            connected_at = now_ns();
            return;
        }
    }
    fprintf(stderr, "The tracker does not answer over UDP.\n");
    exit(1);
}

static void renew_connection(uint64_t now) {
    if (now - connected_at < RENEW_NS) return;
    uint8_t packet[16];
    connected_at = now;
    if (send(sock, packet, write_connect(packet, OWN_CONNECT), 0) < 0) count_failure();
}

static void send_due(uint64_t now) {
    static uint32_t sequence;
    uint64_t since;
    while (vacancies && take_turn(now, &since)) {
        int at = vacant[--vacancies];
        slots[at].transaction = (++sequence & 0x3fffff) << 10 | (uint32_t)at;
        slots[at].since = since;
        if (options.connect_each) queue_connect(&slots[at], now);
        else queue_announce(&slots[at], connection_id, now);
    }
}

static void vacate(struct slot *slot) {
    slot->state = FREE;
    vacant[vacancies++] = (int)(slot - slots);
}

static void drop_lost(uint64_t now) {
    static uint64_t looked;
    if (now - looked < LOOK_NS) return;
    looked = now;
    for (int at = 0; at < options.in_flight; at++)
        if (slots[at].state != FREE && now - slots[at].sent > LOST_NS) {
            count_lost();
            vacate(&slots[at]);
        }
}

static void take_packet(const uint8_t *packet, size_t length, uint64_t now) {
    if (length < 8) {
        count_error("a packet of less than 8 bytes", 29);
        return;
    }
    uint32_t action = read32(packet), transaction = read32(packet + 4);
    if (transaction == OWN_CONNECT) {
        if (action == CONNECT && length >= 16) connection_id = read64(packet + 8);
        return;
    }
    struct slot *slot = &slots[transaction % MOST_IN_FLIGHT];
    if (slot->state == FREE || slot->transaction != transaction) return; /* it came too late */
    if (slot->state == CONNECTING && action == CONNECT && length >= 16) {
        queue_announce(slot, read64(packet + 8), now);
        return;
    }
    if (slot->state == ANNOUNCING && action == ANNOUNCE && length >= 20)
        count_answer(slot->since, now, (int)(length - 20) / 6);
    else
        count_error((const char *)packet + 8, length - 8);
    vacate(slot);
}

static void receive(void) {
    int flags = MSG_WAITFORONE;
    if (options.rate > 0) {
        await_beat();
        flags = MSG_DONTWAIT;
    }
    int count = recvmmsg(sock, in, (unsigned)options.in_flight, flags, 0);
    if (count < 0) {
        if (errno == ECONNREFUSED) count_failure();
        return;
    }
    uint64_t now = now_ns();
    for (int at = 0; at < count; at++) take_packet(received[at], in[at].msg_len, now);
}

int main(int argc, char **argv) {
    options = read_options(argc, argv, help);
    load_fixture(&options);
    open_socket();
    first_connection();
    start_run(&options);
    uint64_t now = now_ns();
    while (!run_is_over(now) || vacancies < options.in_flight) {
        renew_connection(now);
        drop_lost(now);
        send_due(now);
        flush_queue();
        receive();
        now = now_ns();
        report_window(now);
    }
    report_run(now);
    return 0;
}
