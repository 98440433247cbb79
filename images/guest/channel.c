/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "images/guest/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"

/* Without udev there are no links named as the ports are: each port says its name here. */
#define PORTS   "/sys/class/virtio-ports"
#define DEVICES "/sys/bus/virtio/drivers/virtio_console"

/* The host is asked for a device's ports, and answers while the guest boots on. */
#define WAIT_MS 1000
#define TICK_MS 5

/* Open the port when it is there. Returns an fd, or -1. */
static int port_open(const char *name)
{
	_cleanup_(strv_free) struct strv ports = {0};

	if (fs_list(AT_FDCWD, PORTS, &ports, NULL) < 0)
		return -1;
	for (size_t i = 0; i < ports.n; i++) {
		_cleanup_free_ char *label = xasprintf(PORTS "/%s/name", ports.items[i]);
		_cleanup_free_ char *device = xasprintf("/dev/%s", ports.items[i]);
		_cleanup_(buf_free) struct buf text = {0};

		/* not blocking: a write to a port whose other end nobody has open would wait for ever */
		if (fs_load(AT_FDCWD, label, 4096, &text, NULL) >= 0 && strcmp(text_trim(text.data), name) == 0)
			return open(device, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	}
	return -1;
}

static bool has_device(void)
{
	_cleanup_(strv_free) struct strv names = {0};

	if (fs_list(AT_FDCWD, DEVICES, &names, NULL) < 0)
		return false;
	for (size_t i = 0; i < names.n; i++)
		if (text_starts(names.items[i], "virtio"))
			return true;
	return false;
}

void channel_open(struct channel *c, const char *name)
{
	for (int left = WAIT_MS;; left -= TICK_MS) {
		c->fd = port_open(name);
		if (c->fd >= 0) {
			(void)fcntl(c->fd, F_SETOWN, getpid());
			(void)fcntl(c->fd, F_SETFL, O_NONBLOCK | O_ASYNC);
			return;
		}
		if (left <= 0 || !has_device())
			return;
		(void)poll(NULL, 0, TICK_MS);
	}
}

bool channel_tell(struct channel *c, const char *fmt, ...)
{
	_cleanup_free_ char *text = NULL;
	struct pollfd p = {.fd = c->fd, .events = POLLOUT};
	va_list ap;
	int flags;

	if (c->fd < 0 || poll(&p, 1, WAIT_MS) != 1 || !(p.revents & POLLOUT))
		return false;
	va_start(ap, fmt);
	text = xvasprintf(fmt, ap);
	va_end(ap);
	/* a line is one line, whatever the message quotes */
	for (char *s = text; *s; s++)
		if ((unsigned char)*s < ' ')
			*s = ' ';
	/* a blocking write returns when the host has read it, so that switching off loses nothing */
	flags = fcntl(c->fd, F_GETFL);
	(void)fcntl(c->fd, F_SETFL, flags & ~O_NONBLOCK);
	bool told = dprintf(c->fd, "%s\n", text) > 0;
	(void)fcntl(c->fd, F_SETFL, flags);
	return told;
}

static enum channel_request request_parse(const char *line, unsigned int numbers[2])
{
	_cleanup_(strv_free) struct strv words = {0};
	uint32_t n[2];

	strv_split(&words, line, " ");
	for (size_t i = 1; i < words.n; i++)
		if (i > 2 || text_u32(words.items[i], 1, UINT16_MAX, &n[i - 1]) < 0)
			return CHANNEL_NONE;
	for (size_t i = 1; i < words.n; i++)
		numbers[i - 1] = n[i - 1];
	if (words.n == 2 && strcmp(words.items[0], "signal") == 0)
		return CHANNEL_SIGNAL;
	if (words.n == 3 && strcmp(words.items[0], "window") == 0)
		return CHANNEL_WINDOW;
	return CHANNEL_NONE;
}

enum channel_request channel_next(struct channel *c, unsigned int numbers[2])
{
	char byte;

	/* a handful of bytes in a guest's life: one at a time is good enough; 0 bytes: the host has not opened its end */
	for (ssize_t n; c->fd >= 0 && (n = read(c->fd, &byte, 1)) != 0;) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			break;
		if (byte != '\n') {
			c->line[MIN(c->len, sizeof(c->line) - 1)] = byte;
			c->len++;
			continue;
		}
		bool whole = c->len < sizeof(c->line);
		c->line[MIN(c->len, sizeof(c->line) - 1)] = '\0';
		c->len = 0;
		enum channel_request request = whole ? request_parse(c->line, numbers) : CHANNEL_NONE;
		if (request != CHANNEL_NONE)
			return request;
	}
	return CHANNEL_NONE;
}
