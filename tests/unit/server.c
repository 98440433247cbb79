/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"

#define FILE_MAX (64UL << 20)

struct connection {
	struct server *server;
	int fd;
	pthread_t thread;
};

struct server {
	char *dir, *url;
	int fd;
	pthread_t thread;
	pthread_mutex_t lock;
	struct page *pages;
	size_t n_pages, cap_pages;
	struct connection **connections;
	size_t n_connections, cap_connections;
	struct strv log;
	struct arena *kept; /* what pages point to; a connection may still send one that was replaced */
	unsigned ranges, strange;
};

static bool send_all(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
		if (n <= 0)
			return false;
		data += n;
		len -= (size_t)n;
	}
	return true;
}

/* The page for this request, with what is left of its bad manners. */
static struct page find_page(struct server *s, const char *path)
{
	struct page found = {.path = path};

	pthread_mutex_lock(&s->lock);
	strv_add(&s->log, path);
	for (size_t i = 0; i < s->n_pages; i++) {
		struct page *p = &s->pages[i];
		if (strcmp(p->path, path) != 0)
			continue;
		found = *p;
		if (p->times && --p->times == 0)
			*p = (struct page){.path = p->path, .body = p->body, .len = p->len};
	}
	pthread_mutex_unlock(&s->lock);
	return found;
}

static bool send_body(int fd, const struct page *p, const char *body, size_t len)
{
	size_t piece = p->slow_ms ? 100 : 65536;

	for (size_t at = 0; at < len; at += piece) {
		if (!send_all(fd, body + at, MIN(piece, len - at)))
			return false;
		if (p->slow_ms)
			usleep(p->slow_ms * 1000);
	}
	return true;
}

/* False: the connection ends. */
static bool answer(struct server *s, int fd, const char *path, size_t from, size_t last, bool ranged)
{
	_cleanup_(buf_free) struct buf file = {0}, head = {0};
	const struct page p = find_page(s, path);
	const char *body = p.body;
	size_t len = p.len;
	int status = p.status ? p.status : 200;

	if (p.close_first)
		return false;
	if (!body) {
		_cleanup_free_ char *name = xasprintf("%s%s", s->dir ? s->dir : "/nonexistent", path);
		if (fs_load(AT_FDCWD, name, FILE_MAX, &file, NULL) < 0 && !p.status)
			status = 404;
		body = file.data ? file.data : "";
		len = file.len;
	}
	const bool part = ranged && !p.no_range && status == 200;
	if (part)
		status = p.range_status ? p.range_status : from < len ? 206 : 416;
	buf_printf(&head, "HTTP/1.1 %d Whatever\r\n", status);
	if (part && status == 416 && !p.range_status)
		buf_printf(&head, "Content-Range: bytes */%zu\r\n", len);
	if (part && status != 206)
		len = 0;
	if (status == 206) {
		const size_t end = MIN(last + 1, len);
		buf_printf(&head, "Content-Range: bytes %zu-%zu/%zu\r\n", from + p.shifted, end - 1, len);
		body += from;
		len = end - from;
	}
	if (p.location)
		buf_printf(&head, "Location: %s\r\n", p.location);
	if (p.retry_after)
		buf_printf(&head, "Retry-After: %s\r\n", p.retry_after);
	buf_printf(&head, "Content-Length: %zu\r\n\r\n", p.claimed ? p.claimed : len);
	if (!send_all(fd, head.data, head.len))
		return false;
	bool cut = p.cut_after && p.cut_after < len;
	return send_body(fd, &p, body, cut ? p.cut_after : len) && !cut && (!p.claimed || p.claimed == len);
}

static bool read_head(int fd, struct buf *head)
{
	head->len = 0;
	for (;;) {
		ssize_t n = recv(fd, buf_reserve(head, 1), 1, 0);
		if (n <= 0)
			return false;
		if (head->len == 0 && head->data[0] < 'A')
			return false; /* not HTTP: TLS begins with 22 */
		head->len++;
		head->data[head->len] = '\0';
		if (text_ends(head->data, "\r\n\r\n"))
			return true;
	}
}

static void *serve(void *arg)
{
	struct connection *c = arg;
	_cleanup_(buf_free) struct buf head = {0};
	bool more = true;

	while (more && read_head(c->fd, &head)) {
		const char *range = strstr(head.data, "\r\nRange: bytes=");
		size_t from = range ? strtoull(range + 15, NULL, 10) : 0;
		const char *dash = range ? strpbrk(range + 15, "-\r") : NULL;
		size_t last = dash && *dash == '-' && dash[1] != '\r' ? strtoull(dash + 1, NULL, 10) : SIZE_MAX - 1;
		bool get = text_starts(head.data, "GET ");
		pthread_mutex_lock(&c->server->lock);
		c->server->ranges += range != NULL;
		c->server->strange += !get;
		pthread_mutex_unlock(&c->server->lock);
		char *path = head.data + strcspn(head.data, "/");
		path[strcspn(path, " ")] = '\0';
		more = get && answer(c->server, c->fd, path, from, last, range != NULL);
	}
	shutdown(c->fd, SHUT_RDWR);
	return NULL;
}

static void *listen_on(void *arg)
{
	struct server *s = arg;

	for (;;) {
		int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0)
			return NULL;
		struct connection *c = xcalloc(1, sizeof(*c));
		/* head and body are two packets: the second is not to wait for the first one's acknowledgement */
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
		*c = (struct connection){.server = s, .fd = fd};
		pthread_mutex_lock(&s->lock);
		VEC_GROW(s->connections, s->n_connections, s->cap_connections);
		s->connections[s->n_connections++] = c;
		if (pthread_create(&c->thread, NULL, serve, c) != 0)
			abort();
		pthread_mutex_unlock(&s->lock);
	}
}

struct server *server_new(const char *dir)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);
	struct server *s = xcalloc(1, sizeof(*s));

	pthread_mutex_init(&s->lock, NULL);
	s->kept = arena_new();
	s->dir = dir ? xstrdup(dir) : NULL;
	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (s->fd < 0 || bind(s->fd, (struct sockaddr *)&a, len) < 0 || listen(s->fd, 64) < 0 ||
	    getsockname(s->fd, (struct sockaddr *)&a, &len) < 0 || pthread_create(&s->thread, NULL, listen_on, s) != 0)
		abort();
	s->url = xasprintf("http://127.0.0.1:%u", ntohs(a.sin_port));
	return s;
}

void server_free(struct server *s)
{
	shutdown(s->fd, SHUT_RDWR); /* ends accept4 */
	pthread_join(s->thread, NULL);
	for (size_t i = 0; i < s->n_connections; i++) {
		shutdown(s->connections[i]->fd, SHUT_RDWR);
		pthread_join(s->connections[i]->thread, NULL);
		close(s->connections[i]->fd);
		free(s->connections[i]);
	}
	close(s->fd);
	pthread_mutex_destroy(&s->lock);
	strv_free(&s->log);
	arena_free(s->kept);
	free(s->connections);
	free(s->pages);
	free(s->dir);
	free(s->url);
	free(s);
}

void server_put(struct server *s, struct page page)
{
	pthread_mutex_lock(&s->lock);
	page.path = arena_strdup(s->kept, page.path);
	page.location = page.location ? arena_strdup(s->kept, page.location) : NULL;
	page.retry_after = page.retry_after ? arena_strdup(s->kept, page.retry_after) : NULL;
	page.body = page.body ? arena_strndup(s->kept, page.body, page.len) : NULL;
	size_t i = 0;
	while (i < s->n_pages && strcmp(s->pages[i].path, page.path) != 0)
		i++;
	if (i == s->n_pages) {
		VEC_GROW(s->pages, s->n_pages, s->cap_pages);
		s->n_pages++;
	}
	s->pages[i] = page;
	pthread_mutex_unlock(&s->lock);
}

const char *server_url(const struct server *s)
{
	return s->url;
}

unsigned server_requests_of(struct server *s, const char *path)
{
	unsigned n = 0;

	pthread_mutex_lock(&s->lock);
	for (size_t i = 0; i < s->log.n; i++)
		n += !path || strcmp(s->log.items[i], path) == 0;
	pthread_mutex_unlock(&s->lock);
	return n;
}

unsigned server_requests(struct server *s)
{
	return server_requests_of(s, NULL);
}

static unsigned locked(struct server *s, const unsigned *n)
{
	pthread_mutex_lock(&s->lock);
	unsigned value = *n;
	pthread_mutex_unlock(&s->lock);
	return value;
}

unsigned server_ranges(struct server *s)
{
	return locked(s, &s->ranges);
}

unsigned server_strange(struct server *s)
{
	return locked(s, &s->strange);
}

unsigned server_connections(struct server *s)
{
	pthread_mutex_lock(&s->lock);
	unsigned n = (unsigned)s->n_connections;
	pthread_mutex_unlock(&s->lock);
	return n;
}
