/* Latencies in a histogram of about 1.6 % a bucket, and the JSON lines both generators print. */
#include "report.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define FINE_BITS 6
/* So many unanswered requests without a single answer, and there will be none. */
#define HOPELESS 256
#define BUCKETS (64 << FINE_BITS)

struct figures {
    uint64_t began;
    uint64_t histogram[BUCKETS], slowest;
    uint64_t done, errors, failures, lost, peers;
};

static struct figures whole, window;
static char first_error[96];
static uint64_t window_ns;
static double cpu_at_start, cpu_before_window;

static double cpu_seconds(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

/* Exact below 128 ns, then 64 buckets for each doubling. */
static int bucket_of(uint64_t ns) {
    if (ns < 2u << FINE_BITS) return (int)ns;
    int shift = 63 - __builtin_clzll(ns) - FINE_BITS;
    return (shift << FINE_BITS) + (int)(ns >> shift);
}

static double microseconds_of(int bucket) {
    int shift = (bucket >> FINE_BITS) - 1;
    if (shift <= 0) return bucket / 1e3;
    uint64_t low = (uint64_t)(bucket - (shift << FINE_BITS)) << shift;
    return (double)(low + (1ull << shift) / 2) / 1e3;
}

static double percentile(const struct figures *figures, double part) {
    uint64_t wanted = (uint64_t)(part * (double)figures->done), seen = 0;
    for (int bucket = 0; bucket < BUCKETS; bucket++) {
        seen += figures->histogram[bucket];
        if (seen && seen >= wanted) return microseconds_of(bucket);
    }
    return 0;
}

static void print(const struct figures *figures, uint64_t now, double cpu, const char *kind) {
    double seconds = (double)(now - figures->began) / 1e9;
    double done = (double)figures->done;
    printf("{\"kind\": \"%s\", \"done\": %llu, \"seconds\": %.4f, \"rate\": %.1f, "
           "\"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, \"max_us\": %.1f, "
           "\"errors\": %llu, \"failures\": %llu, \"lost\": %llu, \"peers_per_answer\": %.2f, "
           "\"generator_cpu_seconds\": %.3f, \"first_error\": \"%s\"}\n",
           kind, (unsigned long long)figures->done, seconds, seconds > 0 ? done / seconds : 0,
           percentile(figures, .5), percentile(figures, .99), percentile(figures, .999),
           (double)figures->slowest / 1e3, (unsigned long long)figures->errors,
           (unsigned long long)figures->failures, (unsigned long long)figures->lost,
           done > 0 ? (double)figures->peers / done : 0, cpu, first_error);
    fflush(stdout);
}

void start_report(uint64_t began, uint64_t window_length_ns) {
    whole.began = window.began = began;
    window_ns = window_length_ns;
    cpu_at_start = cpu_before_window = cpu_seconds();
}

static void add_answer(struct figures *figures, uint64_t ns, int peers) {
    figures->histogram[bucket_of(ns)]++;
    if (ns > figures->slowest) figures->slowest = ns;
    figures->done++;
    figures->peers += (uint64_t)peers;
}

void count_answer(uint64_t since, uint64_t now, int peers) {
    uint64_t ns = now > since ? now - since : 0;
    add_answer(&whole, ns, peers);
    if (window_ns) add_answer(&window, ns, peers);
}

void count_error(const char *text, size_t length) {
    whole.errors++;
    window.errors++;
    if (first_error[0]) return;
    size_t kept = 0;
    for (size_t at = 0; at < length && kept < sizeof first_error - 1; at++)
        if (isprint((unsigned char)text[at]) && text[at] != '"' && text[at] != '\\')
            first_error[kept++] = text[at];
    if (!kept) strcpy(first_error, "an answer without text");
}

void count_failure(void) {
    whole.failures++;
    window.failures++;
}

void count_lost(void) {
    whole.lost++;
    window.lost++;
    if (whole.lost >= HOPELESS && !whole.done) {
        fprintf(stderr, "The tracker answers nothing.\n");
        exit(1);
    }
}

void report_window(uint64_t now) {
    if (!window_ns || now - window.began < window_ns) return;
    double cpu = cpu_seconds();
    print(&window, now, cpu - cpu_before_window, "window");
    cpu_before_window = cpu;
    memset(&window, 0, sizeof window);
    window.began = now;
}

void report_run(uint64_t now) { print(&whole, now, cpu_seconds() - cpu_at_start, "run"); }
