/* What a run is worth: latencies, faults, and the lines both load generators print. */
#ifndef TRACKARR_REPORT_H
#define TRACKARR_REPORT_H

#include <stddef.h>
#include <stdint.h>

/* The run begins. A window is so many nanoseconds; 0: no window is reported. */
void start_report(uint64_t began, uint64_t window_length_ns);
void count_answer(uint64_t since, uint64_t now, int peers);
/* The tracker refused, or answered what is no answer. Keeps the first text. */
void count_error(const char *text, size_t length);
/* A connection broke. */
void count_failure(void);
/* No answer came in time. */
void count_lost(void);
/* Prints a line for the window when it has ended. */
void report_window(uint64_t now);
/* Prints the line of the whole run: JSON, rates a second, times in microseconds. */
void report_run(uint64_t now);

#endif
