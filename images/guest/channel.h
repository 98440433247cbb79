/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/*
 * A port of a virtio-serial device, by which guest and runtime exchange lines. To the runtime:
 *
 *     exited STATUS     the workload has ended: 0 to 255, 128 + N when signal N ended it; the last line
 *     failed MESSAGE    it was not started; the last line
 *
 * From the runtime, at any time; lines of other forms mean nothing:
 *
 *     signal NUMBER         for the workload
 *     window ROWS COLUMNS   the size of the terminal that the console is shown in
 */
#define CHANNEL_NAME "org.limpid.workload"

struct channel {
	int fd; /* -1: there is none */
	size_t len;
	char line[64]; /* what came of a line that has not ended; a longer one is dropped */
};
#define CHANNEL_INIT                                                                                                   \
	{                                                                                                              \
		.fd = -1                                                                                               \
	}

/*
 * Open the port of this name, when there is one. Ports appear a moment after their device, which is waited for. From then on SIGIO comes
 * whenever the runtime connects or has sent something.
 */
void channel_open(struct channel *c, const char *name);

/* Tell the runtime, and wait until it has been told. False: there is no channel, or nobody listens. */
bool channel_tell(struct channel *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

enum channel_request { CHANNEL_NONE, CHANNEL_SIGNAL, CHANNEL_WINDOW };

/*
 * The next request that has arrived: numbers[0] (and [1]) are what stands behind the word. CHANNEL_NONE: no more for now.
 */
enum channel_request channel_next(struct channel *c, unsigned int numbers[2]);
