/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/input/download.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/text.h"
#include "swupd/base/ui.h"

#define CONNECTIONS     8 /* more gains nothing from one mirror and is not polite */
#define TRIES           4 /* with the pauses below: a server has 7 seconds to come back */
#define FIRST_PAUSE_MS  1000
#define CONNECT_SECONDS 20L
#define STALL_SECONDS   30L /* less than STALL_BYTES in one second for so long: the connection is dead */
#define STALL_BYTES     100L
#define AGENT           "limpid-mixer"

struct downloader {
	CURLM *multi;
};

enum state { WAITING, RUNNING, DONE };

struct transfer {
	const struct download *d;
	struct downloader *downloader;
	struct progress *progress;
	CURL *easy;
	enum state state;
	unsigned tries;
	int64_t not_before_ms;
	char *part;       /* name of the unfinished file */
	int fd;           /* of it; held with a lock, since another mixer may use the same cache */
	uint64_t resumed; /* bytes that were there when this try began */
	uint64_t have;    /* bytes that are there */
	uint64_t counted; /* bytes given to progress */
	int write_result; /* of the write callback; its error is in write_err */
	struct err write_err;
	char reason[CURL_ERROR_SIZE];
};

struct downloader *downloader_new(void)
{
	struct downloader *d = xcalloc(1, sizeof(*d));

	curl_global_init(CURL_GLOBAL_DEFAULT);
	d->multi = curl_multi_init();
	curl_multi_setopt(d->multi, CURLMOPT_MAX_HOST_CONNECTIONS, (long)CONNECTIONS);
	return d;
}

void downloader_free(struct downloader *d)
{
	if (!d)
		return;
	curl_multi_cleanup(d->multi);
	curl_global_cleanup();
	free(d);
}

char *url_join(const char *base, const char *path)
{
	struct buf b = {0};
	size_t len = strlen(base);

	while (len && base[len - 1] == '/')
		len--;
	buf_add(&b, base, len);
	buf_putc(&b, '/');
	for (; *path; path++) {
		if ((unsigned char)*path <= ' ' || (unsigned char)*path >= 0x7f || strchr("%?#\"<>\\^`{|}[]", *path))
			buf_printf(&b, "%%%02X", (unsigned char)*path);
		else
			buf_putc(&b, *path);
	}
	return b.data;
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/*
 * Open the unfinished file for us alone. Between open and lock its owner may have finished and renamed it: then what we hold is no longer
 * the file of that name. -ERR_LOCKED: another mixer is downloading it.
 */
static int open_part(int dirfd, const char *part, struct err *e)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	struct stat ours, named;

	for (;;) {
		_cleanup_close_ int fd = openat(dirfd, part, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
		if (fd < 0)
			return err_errno(e, "%s", part);
		if (fcntl(fd, F_OFD_SETLK, &lock) < 0)
			return errno == EAGAIN || errno == EACCES
				       ? err_set(e, -ERR_LOCKED, "another mixer is downloading it")
				       : err_errno(e, "%s", part);
		if (fstat(fd, &ours) < 0)
			return err_errno(e, "%s", part);
		if (fstatat(dirfd, part, &named, AT_SYMLINK_NOFOLLOW) == 0 && named.st_ino == ours.st_ino &&
		    named.st_dev == ours.st_dev)
			return take_fd(&fd);
	}
}

static int restart(struct transfer *t)
{
	if (ftruncate(t->fd, 0) < 0 || lseek(t->fd, 0, SEEK_SET) < 0)
		return err_errno(&t->write_err, "%s", t->part);
	t->have = t->resumed = 0;
	return 0;
}

static int receive(struct transfer *t, const char *data, size_t len)
{
	uint64_t max = t->d->size ? t->d->size : t->d->max;
	long status = 0;

	curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
	if (t->resumed && t->have == t->resumed && status == 200) {
		int r = restart(t); /* the server does not do ranges: this is the whole file */
		if (r < 0)
			return r;
	}
	if (t->have + len > max)
		return err_set(&t->write_err, t->d->size ? -ERR_DIGEST : -ERR_LIMIT, "is larger than %llu bytes",
			       (unsigned long long)max);
	int r = fs_write_all(t->fd, data, len, &t->write_err);
	if (r < 0)
		return r;
	t->have += len;
	if (t->have > t->counted) {
		progress_add(t->progress, t->have - t->counted);
		t->counted = t->have;
	}
	return 0;
}

static size_t on_data(char *data, size_t size, size_t n, void *arg)
{
	struct transfer *t = arg;

	t->write_result = receive(t, data, size * n);
	return t->write_result < 0 ? 0 : size * n;
}

static void set_options(struct transfer *t)
{
	CURL *c = t->easy;
	struct stat st;

	curl_easy_setopt(c, CURLOPT_URL, t->d->url);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, t);
	curl_easy_setopt(c, CURLOPT_PRIVATE, t);
	curl_easy_setopt(c, CURLOPT_ERRORBUFFER, t->reason);
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https,file");
	curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 1L);
	curl_easy_setopt(c, CURLOPT_MAXREDIRS, 5L);
	curl_easy_setopt(c, CURLOPT_FAILONERROR, 1L);
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, CONNECT_SECONDS);
	curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, STALL_BYTES);
	curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, STALL_SECONDS);
	curl_easy_setopt(c, CURLOPT_USERAGENT, AGENT);
	curl_easy_setopt(c, CURLOPT_FILETIME, 1L);
	if (t->have)
		curl_easy_setopt(c, CURLOPT_RESUME_FROM_LARGE, (curl_off_t)t->have);
	if (t->d->if_newer && fstatat(t->d->dirfd, t->d->name, &st, 0) == 0) {
		curl_easy_setopt(c, CURLOPT_TIMECONDITION, (long)CURL_TIMECOND_IFMODSINCE);
		curl_easy_setopt(c, CURLOPT_TIMEVALUE_LARGE, (curl_off_t)st.st_mtime);
	}
}

static int start(struct transfer *t, struct err *e)
{
	struct stat st;

	if (t->fd < 0) {
		t->fd = open_part(t->d->dirfd, t->part, e);
		if (t->fd < 0)
			return err_in(e, t->fd, "%s", t->d->what);
	}
	if (fstat(t->fd, &st) < 0)
		return err_errno(e, "%s", t->part);
	/* without a digest nothing tells whether the beginning is of the same file; a full one may be a wrong one */
	bool resume = t->d->sha256 && (!t->d->size || (uint64_t)st.st_size < t->d->size);
	t->have = t->resumed = resume ? (uint64_t)st.st_size : 0;
	if (!resume && ftruncate(t->fd, 0) < 0)
		return err_errno(e, "%s", t->part);
	if (lseek(t->fd, (off_t)t->have, SEEK_SET) < 0)
		return err_errno(e, "%s", t->part);
	if (t->have > t->counted) {
		progress_add(t->progress, t->have - t->counted);
		t->counted = t->have;
	}
	t->easy = curl_easy_init();
	set_options(t);
	t->tries++;
	t->state = RUNNING;
	t->write_result = 0;
	curl_multi_add_handle(t->downloader->multi, t->easy);
	return 0;
}

static void stop(struct transfer *t)
{
	if (!t->easy)
		return;
	curl_multi_remove_handle(t->downloader->multi, t->easy);
	curl_easy_cleanup(t->easy);
	t->easy = NULL;
}

/* Did the server say something, or the network fail, that may be different in a second? */
static bool may_pass(CURLcode code, long status)
{
	switch (code) {
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY:
	case CURLE_COULDNT_CONNECT:
	case CURLE_OPERATION_TIMEDOUT:
	case CURLE_PARTIAL_FILE:
	case CURLE_SEND_ERROR:
	case CURLE_RECV_ERROR:
	case CURLE_GOT_NOTHING:
	case CURLE_HTTP2:
	case CURLE_HTTP2_STREAM:
		return true;
	case CURLE_HTTP_RETURNED_ERROR:
		return status == 408 || status == 429 || status >= 500;
	default:
		return false;
	}
}

static int curl_error(const struct transfer *t, CURLcode code, long status, struct err *e)
{
	const char *what = t->d->what, *reason = *t->reason ? t->reason : curl_easy_strerror(code);

	switch (code) {
	case CURLE_HTTP_RETURNED_ERROR:
		if (status == 404 || status == 410)
			return err_set(e, -ERR_MISSING, "%s: the server does not have %s", what, t->d->url);
		return err_set(e, -ERR_DOWNLOAD, "%s: the server answers %ld for %s", what, status, t->d->url);
	case CURLE_FILE_COULDNT_READ_FILE:
		return err_set(e, -ERR_MISSING, "%s: there is no %s", what, t->d->url);
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY:
	case CURLE_COULDNT_CONNECT:
	case CURLE_OPERATION_TIMEDOUT:
		return err_set(e, -ERR_CONNECT, "%s: cannot reach %s: %s", what, t->d->url, reason);
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
		return err_set(e, -ERR_TLS, "%s: %s: %s", what, t->d->url, reason);
	default:
		return err_set(e, -ERR_DOWNLOAD, "%s: cannot download %s: %s", what, t->d->url, reason);
	}
}

static int check(const struct transfer *t, struct err *e)
{
	struct digest got;

	if (t->d->size && t->have != t->d->size)
		return err_set(e, -ERR_DIGEST, "%s: %s has %llu bytes instead of %llu", t->d->what, t->d->url,
			       (unsigned long long)t->have, (unsigned long long)t->d->size);
	if (!t->d->sha256)
		return 0;
	if (lseek(t->fd, 0, SEEK_SET) < 0)
		return err_errno(e, "%s", t->part);
	int r = sha256_fd(t->fd, &got, e);
	if (r < 0)
		return err_in(e, r, "%s", t->d->what);
	if (!digest_equal(&got, t->d->sha256))
		return err_set(e, -ERR_DIGEST, "%s: %s is not what its signed index says", t->d->what, t->d->url);
	return 0;
}

static int accept_file(struct transfer *t, struct err *e)
{
	curl_off_t mtime = -1;
	long unmet = 0;

	curl_easy_getinfo(t->easy, CURLINFO_CONDITION_UNMET, &unmet);
	if (unmet && t->d->if_newer) {
		(void)unlinkat(t->d->dirfd, t->part, 0);
		return 0;
	}
	int r = check(t, e);
	if (r < 0)
		return r;
	curl_easy_getinfo(t->easy, CURLINFO_FILETIME_T, &mtime);
	if (t->d->if_newer && mtime >= 0) {
		const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = (time_t)mtime}};
		(void)futimens(t->fd, times); /* without it the next run only downloads once more */
	}
	if (renameat(t->d->dirfd, t->part, t->d->dirfd, t->d->name) < 0)
		return err_errno(e, "%s", t->d->name);
	return 0;
}

/* One try is over: it is done, or tried again later (0 in both cases), or the end. */
static int finish(struct transfer *t, CURLcode code, struct err *e)
{
	long status = 0;
	int r;

	curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
	if (t->write_result < 0) {
		r = t->write_result;
		err_move(e, &t->write_err);
		r = err_in(e, r, "%s: %s", t->d->what, t->d->url);
		(void)unlinkat(t->d->dirfd, t->part, 0);
		return r;
	}
	if (code == CURLE_OK) {
		r = accept_file(t, e);
		if (r == -ERR_DIGEST) {
			(void)unlinkat(t->d->dirfd, t->part, 0);
			if (t->resumed && t->tries < TRIES) { /* the beginning may have been the wrong half */
				err_clear(e);
				stop(t);
				closep(&t->fd);
				t->fd = -1;
				t->state = WAITING;
				return 0;
			}
		}
		t->state = DONE;
		return r;
	}
	/* 416: what is there is not a beginning of what the server has */
	bool again = may_pass(code, status) || (status == 416 && t->resumed);
	if (!again || t->tries >= TRIES) {
		if (t->have == 0)
			(void)unlinkat(t->d->dirfd, t->part, 0);
		return curl_error(t, code, status, e);
	}
	if (status == 416 && ftruncate(t->fd, 0) < 0)
		return err_errno(e, "%s", t->part);
	stop(t);
	t->state = WAITING;
	t->not_before_ms = now_ms() + ((int64_t)FIRST_PAUSE_MS << (t->tries - 1));
	return 0;
}

static void release(struct transfer *t)
{
	stop(t);
	closep(&t->fd);
	t->fd = -1;
	err_clear(&t->write_err);
	free(t->part);
	t->part = NULL;
}

/* Start what may run now; *running counts what does, *left what is not done. */
static int start_more(struct transfer *list, size_t n, unsigned *running, size_t *left, struct err *e)
{
	int64_t now = now_ms();

	*running = 0;
	*left = 0;
	for (size_t i = 0; i < n; i++) {
		*running += list[i].state == RUNNING;
		*left += list[i].state != DONE;
	}
	for (size_t i = 0; i < n && *running < CONNECTIONS; i++) {
		if (list[i].state != WAITING || list[i].not_before_ms > now)
			continue;
		int r = start(&list[i], e);
		if (r < 0)
			return r;
		++*running;
	}
	return 0;
}

static int run(struct downloader *d, struct transfer *list, size_t n, struct err *e)
{
	unsigned running;
	size_t left;
	int active, queued;

	for (;;) {
		int r = start_more(list, n, &running, &left, e);
		if (r < 0 || left == 0)
			return r;
		curl_multi_perform(d->multi, &active);
		bool idle = true;
		for (CURLMsg *m; (m = curl_multi_info_read(d->multi, &queued));) {
			struct transfer *t = NULL;
			if (m->msg != CURLMSG_DONE)
				continue;
			CURLcode code = m->data.result;
			curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &t);
			r = finish(t, code, e);
			if (r < 0)
				return r;
			if (t->state == DONE)
				release(t);
			idle = false; /* there is room for the next one, or nothing left to do */
		}
		/* 200 ms: when a pause between tries may be over */
		if (idle)
			curl_multi_poll(d->multi, NULL, 0, 200, NULL);
	}
}

int download_all(struct downloader *d, const struct download *list, size_t n, struct progress *progress, struct err *e)
{
	struct transfer *transfers = xcalloc(n, sizeof(*transfers));

	for (size_t i = 0; i < n; i++) {
		transfers[i] = (struct transfer){.d = &list[i], .downloader = d, .progress = progress, .fd = -1};
		transfers[i].part = xasprintf("%s.part", list[i].name);
	}
	int r = run(d, transfers, n, e);
	for (size_t i = 0; i < n; i++)
		release(&transfers[i]);
	free(transfers);
	return r;
}
