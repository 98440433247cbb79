/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/client/fetch.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/base/ui.h"
#include "swupd/client/libcurl.h"
#include "swupd/client/machine.h"
#include "swupd/client/plain_http.h"
#include "swupd/client/tar_source.h"
#include "swupd/client/url.h"
#include "swupd/content/format.h"

#define CONNECT_TIMEOUT_S 30
#define OTHER_TIMEOUT_S   10   /* the same where another source can be asked */
#define STALLED_S         30   /* a transfer below SPEED_MIN for so long is dead */
#define SPEED_MIN         512  /* bytes a second: who sends less may not want us to get it */
#define SPEED_MIN_OTHER   8192 /* the same of a mirror; on a line as slow as that the origin does no worse */
#define DELAY_MAX_S       60
#define REDIRECTS_MAX     5
#define POLL_MS           1000
#define BUFFER            (256L << 10)
#define ERROR_BODY_MAX                                                                                                 \
	(256U << 10) /* of a 404 page: read, so that the connection stays usable; closing is cheaper beyond */

/* A fetch_mirror in this run */
struct mirror {
	const char *base, *origin;
	bool left;  /* the origin comes first */
	bool alone; /* the origin cannot be reached */
};

struct fetch {
	struct fetch_options o; /* its strings are the two below */
	char *client_cert, *user_agent;
	struct mirror mirrors[ARRAY_LEN(((struct fetch_options *)NULL)->mirrors)];
	CURLM *multi;           /* NULL: nothing has needed it yet */
	bool asked;             /* by plain_http_get() */
	struct tar_source *tar; /* of tar_base; NULL: that is none */
	char *tar_base;         /* the base of file:// that was looked at last */
	char *authority;        /* any of those that are looked up by name */
	bool all_authorities;   /* a server's was not known by name: they are read */
	bool reached;           /* some server has answered in this run, so a refused connection may be passing */
	uint64_t bytes, requests;
};

/* A place for one transfer at a time; its easy handle serves one job after the other. */
struct slot {
	struct batch *batch;
	CURL *easy;
	const struct fetch_job *job; /* NULL: free */
	struct mirror *mirror;       /* NULL: there is one source */
	const char *base;            /* that is asked */
	bool at_origin;
	struct err missed; /* set: the mirror has not got it, which counts unless the origin has */
	char *url, *part;
	bool by_name; /* the server's authority is looked up so */
	bool local;   /* file:// */
	bool member;  /* of a tar: */
	uint64_t member_at, member_bytes;
	bool opened;       /* text or part is set */
	struct buf *text;  /* where it goes */
	size_t text_max;   /* a longer one goes into the file */
	int fd;            /* of part; -1: into text */
	uint64_t at;       /* bytes that part, or text, has */
	uint64_t reported; /* bytes that progress knows of */
	bool sized;        /* progress knows the total */
	bool ranged;       /* the rest is asked for, from at, or a part */
	bool whole;        /* all came instead of a part */
	bool restarted;    /* the rest could not be had once; not asked for again */
	bool refused;      /* this source refuses parts: all of it is asked for */
	bool begun;        /* the head of this answer was looked at */
	bool dropping;     /* its body is not what we want */
	unsigned dropped;
	unsigned tries;
	int64_t due_ms; /* nonzero: waits until then for the next try */
	int result;     /* of our own side: writing, limits */
	struct err err;
	char detail[CURL_ERROR_SIZE];
};

struct batch {
	struct fetch *f;
	const char *base;
	int dirfd;
	const struct fetch_job *jobs;
	size_t n, next;
	fetch_done_fn *done;
	void *arg;
	struct progress *progress;
	struct slot *slots;
	size_t n_slots, busy;
};

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

struct fetch *fetch_new(const struct fetch_options *o)
{
	struct fetch *f = xcalloc(1, sizeof(*f));

	f->o = *o;
	if (f->o.parallel == 0)
		f->o.parallel = 1;
	f->o.client_cert = f->client_cert = o->client_cert ? xstrdup(o->client_cert) : NULL;
	f->o.user_agent = f->user_agent = xstrdup(o->user_agent ? o->user_agent : "swupd");
	for (size_t i = 0; i < ARRAY_LEN(f->mirrors); i++)
		f->mirrors[i] = (struct mirror){.base = o->mirrors[i].base, .origin = o->mirrors[i].origin};
	return f;
}

/* libcurl, as soon as something needs it */
static int start(struct fetch *f, struct err *e)
{
	if (f->multi)
		return 0;
	int r = libcurl_load(e);
	if (r < 0)
		return r;
	if (curl.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return err_set(e, -ERR_CONNECT, "cannot initialise libcurl");
	f->multi = curl.multi_init();
	if (!f->multi) {
		curl.global_cleanup();
		return err_set(e, -ERR_CONNECT, "cannot initialise libcurl");
	}
	curl.multi_setopt(f->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_MULTIPLEX);
	curl.multi_setopt(f->multi, CURLMOPT_MAX_HOST_CONNECTIONS, (long)f->o.parallel);
	curl.multi_setopt(f->multi, CURLMOPT_MAXCONNECTS, (long)f->o.parallel + 1);
	return 0;
}

void fetch_free(struct fetch *f)
{
	if (!f)
		return;
	if (f->multi) {
		curl.multi_cleanup(f->multi);
		curl.global_cleanup();
	}
	tar_source_free(f->tar);
	free(f->tar_base);
	free(f->authority);
	free(f->client_cert);
	free(f->user_agent);
	free(f);
}

void fetch_count(const struct fetch *f, uint64_t *bytes, uint64_t *requests)
{
	*bytes = f->bytes;
	*requests = f->requests;
}

void fetch_machine(struct machine *m)
{
	const struct client_options *o = m->opts;

	if (m->fetch)
		return;
	struct fetch_options fo = {
		.parallel = o->max_parallel_downloads,
		.retries = o->max_retries,
		.delay_s = o->retry_delay,
		.port = o->port,
		.allow_http = o->allow_insecure_http,
		.client_cert = fs_exists(AT_FDCWD, FETCH_CLIENT_CERT) ? FETCH_CLIENT_CERT : NULL,
		.user_agent = "swupd/" LIMPID_VERSION,
		.mirrors = {{m->content_url, m->content_origin}, {m->version_url, m->version_origin}},
		.ui = m->ui,
	};
	m->fetch = fetch_new(&fo);
}

/* -- mirrors -- */

static struct mirror *find_mirror(struct fetch *f, const char *base)
{
	for (size_t i = 0; i < ARRAY_LEN(f->mirrors); i++)
		if (base == f->mirrors[i].base && f->mirrors[i].origin)
			return &f->mirrors[i];
	return NULL;
}

/* True: it was not before. */
static bool leave(struct fetch *f, const struct mirror *m, const char *why)
{
	if (m->left || m->alone)
		return false;
	if (f->o.ui)
		ui_warn(f->o.ui, "%s; going on with %s, not the mirror", why, m->origin);
	/* what lies there besides is no better */
	for (size_t i = 0; i < ARRAY_LEN(f->mirrors); i++)
		if (f->mirrors[i].origin && strcmp(f->mirrors[i].base, m->base) == 0)
			f->mirrors[i].left = true;
	return true;
}

bool fetch_leave(struct fetch *f, const char *base, int result, struct err *e)
{
	const struct mirror *m = find_mirror(f, base);

	switch (result) {
	case -ERR_DIGEST:
	case -ERR_DOWNLOAD: /* what there was instead of what was wrong */
	case -ERR_EXPIRED:
	case -ERR_FORMAT:
	case -ERR_LIMIT:
	case -ERR_SIGNATURE:
	case -ERR_STALE:
		if (!m || !leave(f, m, e->text))
			return false;
		err_clear(e);
		return true;
	default:
		return false;
	}
}

static void stay_alone(struct fetch *f, const struct mirror *m, const char *why)
{
	if (f->o.ui && m->left && !m->alone)
		ui_warn(f->o.ui, "%s; going on with the mirror", why);
	for (size_t i = 0; i < ARRAY_LEN(f->mirrors); i++)
		if (f->mirrors[i].origin && strcmp(f->mirrors[i].origin, m->origin) == 0) {
			f->mirrors[i].left = false;
			f->mirrors[i].alone = true;
		}
}

/* Somebody else comes before the next try here. */
static bool has_other(const struct slot *s, int result)
{
	return s->mirror && !s->mirror->alone && (!s->at_origin || s->missed.code || result == -ERR_CONNECT);
}

/* -- one transfer -- */

static int drop_content(struct slot *s, struct err *e)
{
	if (s->fd >= 0 && s->at > 0 && ftruncate(s->fd, 0) < 0)
		return err_errno(e, "cannot write %s", s->part);
	if (s->text)
		s->text->len = 0;
	s->at = 0;
	return 0;
}

/* Does the body begin where what we have ends? One that begins elsewhere must not be put behind it. */
static bool continues(struct slot *s)
{
	struct curl_header *h;
	uint64_t from;

	return curl.easy_header(s->easy, "Content-Range", 0, CURLH_HEADER, -1, &h) == CURLHE_OK &&
	       text_starts(h->value, "bytes ") &&
	       text_u64_n(h->value + 6, strspn(h->value + 6, "0123456789"), 0, UINT64_MAX, &from) >= 0 &&
	       from == s->job->at + s->at;
}

/* The part of an answer that says whether and where its body goes. False: the body is to be dropped. */
static bool body_wanted(struct slot *s)
{
	long code = 0;

	curl.easy_getinfo(s->easy, CURLINFO_RESPONSE_CODE, &code);
	if (code == 206 && s->ranged) {
		s->restarted = !continues(s);
		return !s->restarted;
	}
	if (code != 200 && !s->local)
		return false;
	/* a server that does not know ranges sends all of it */
	s->whole = s->job->bytes && !s->local;
	s->result = drop_content(s, &s->err);
	return s->result >= 0;
}

/* May so many bytes more come? */
static int check_max(struct slot *s, uint64_t len)
{
	const uint64_t max = s->job->bytes && !s->whole ? s->job->bytes : s->job->max;

	if (max && len > max - MIN(s->at, max))
		return err_set(&s->err, -ERR_LIMIT, "%s: larger than %llu bytes", s->url, (unsigned long long)max);
	return 0;
}

static void begin_body(struct slot *s)
{
	curl_off_t length = -1;

	s->begun = true;
	s->dropping = !body_wanted(s);
	if (s->dropping || curl.easy_getinfo(s->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length) != CURLE_OK ||
	    length <= 0)
		return;
	s->result = check_max(s, (uint64_t)length);
	if (!s->sized && s->job->size == 0)
		progress_total(s->batch->progress, (uint64_t)length + s->at);
	s->sized = true;
}

static void report(struct slot *s)
{
	if (s->at > s->reported) {
		progress_add(s->batch->progress, s->at - s->reported);
		s->reported = s->at;
	}
}

static int open_part(struct slot *s, int flags, struct err *e)
{
	struct stat st;

	s->fd = openat(s->batch->dirfd, s->part, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW | flags, 0600);
	if (s->fd < 0 || fstat(s->fd, &st) < 0)
		return err_errno(e, "cannot write %s", s->part);
	s->at = (uint64_t)st.st_size;
	return 0;
}

static int put(struct slot *s, const char *data, size_t len, struct err *e)
{
	int r = 0;

	if (s->fd < 0 && s->at + len > s->text_max) { /* not so small */
		r = open_part(s, O_CREAT | O_TRUNC, e);
		if (r >= 0)
			r = fs_write_all(s->fd, s->text->data, s->text->len, e);
		s->at = s->text->len;
		buf_free(s->text);
	}
	if (r >= 0 && s->fd < 0)
		buf_add(s->text, data, len);
	else if (r >= 0)
		r = fs_write_all(s->fd, data, len, e);
	if (r < 0)
		return err_in(e, r, "cannot write %s", s->part);
	s->at += len;
	return 0;
}

static size_t on_data(char *data, size_t size, size_t n, void *arg)
{
	struct slot *s = arg;
	size_t len = size * n;

	if (!s->begun)
		begin_body(s);
	if (s->result < 0)
		return CURL_WRITEFUNC_ERROR;
	if (s->dropping) {
		s->dropped += (unsigned)len;
		return s->dropped > ERROR_BODY_MAX ? CURL_WRITEFUNC_ERROR : len;
	}
	s->result = check_max(s, len);
	if (s->result >= 0)
		s->result = put(s, data, len, &s->err);
	if (s->result < 0)
		return CURL_WRITEFUNC_ERROR;
	report(s);
	if (s->job->grown && !s->whole)
		s->job->grown(s->batch->arg, s->job, s->at);
	return len;
}

/* One of a directory that has them by name (openssl-rehash(1)), since libcurl reads some file in any case. NULL: there is none; the caller frees it. */
static char *find_authority(const char *dir)
{
	_cleanup_(strv_free) struct strv names = {0};
	_cleanup_close_ int fd = open(dir, O_RDONLY | O_CLOEXEC | O_DIRECTORY);

	if (fd < 0 || fs_list(fd, ".", &names, NULL) < 0)
		return NULL;
	for (size_t i = 0; i < names.n; i++)
		if (strspn(names.items[i], "0123456789abcdef") == 8 && strcmp(names.items[i] + 8, ".0") == 0 &&
		    faccessat(fd, names.items[i], R_OK, 0) == 0)
			return xasprintf("%s/%s", dir, names.items[i]);
	return NULL;
}

/*
 * The trust in TLS servers can be moved as with curl(1). Where it is not, authorities are looked up by name in a directory; all of them are read from the bundle only when that
 * does not know the server's: reading takes several times as long as all else that an update does which finds nothing new.
 */
static void set_authorities(struct slot *s)
{
	const char *file = getenv("SSL_CERT_FILE"); /* NOLINT(concurrency-mt-unsafe): nobody calls setenv */
	const char *dir = getenv("SSL_CERT_DIR");   /* NOLINT(concurrency-mt-unsafe) */
	struct fetch *f = s->batch->f;

	if (dir && *dir)
		curl.easy_setopt(s->easy, CURLOPT_CAPATH, dir);
	else
		dir = curl.version_info(CURLVERSION_NOW)->capath;
	if (dir && !f->authority && !f->all_authorities)
		f->authority = find_authority(dir);
	s->by_name = f->authority && !f->all_authorities && !(file && *file);
	if (s->by_name)
		curl.easy_setopt(s->easy, CURLOPT_CAINFO, f->authority);
	else if (file && *file)
		curl.easy_setopt(s->easy, CURLOPT_CAINFO, file);
}

static int check_scheme(const struct fetch *f, const char *url, bool *https, bool *local, struct err *e)
{
	*local = strncasecmp(url, "file://", 7) == 0;
	*https = strncasecmp(url, "https://", 8) == 0;
	if (*local || *https)
		return 0;
	if (strncasecmp(url, "http://", 7) != 0)
		return err_set(e, -ERR_CONFIG, "'%s': only https, http and file URLs are possible", url);
	if (f->o.allow_http)
		return 0;
	return err_hint(
		e, err_set(e, -ERR_CONFIG, "'%s': without TLS anybody on the way sees what this system installs", url),
		"use https, or --allow-insecure-http (content is verified all the same)");
}

/*
 * Of curl's defaults these stay: *_proxy in the environment is obeyed, the server's certificate and name are verified. CURLOPT_NOSIGNAL stays off, so that
 * libcurl keeps SIGPIPE away from us (Debian's resolver is a thread, no alarm is used).
 */
static void set_options(struct slot *s, bool https)
{
	const struct fetch_options *o = &s->batch->f->o;
	const bool other = s->mirror && !s->mirror->alone;
	CURL *c = s->easy;

	curl.easy_reset(c);
	curl.easy_setopt(c, CURLOPT_URL, s->url);
	curl.easy_setopt(c, CURLOPT_PRIVATE, s);
	curl.easy_setopt(c, CURLOPT_ERRORBUFFER, s->detail);
	curl.easy_setopt(c, CURLOPT_WRITEFUNCTION, on_data);
	curl.easy_setopt(c, CURLOPT_WRITEDATA, s);
	curl.easy_setopt(c, CURLOPT_BUFFERSIZE, BUFFER);
	curl.easy_setopt(c, CURLOPT_USERAGENT, o->user_agent);
	curl.easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https,file");
	curl.easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, https ? "https" : "http,https");
	curl.easy_setopt(c, CURLOPT_FOLLOWLOCATION, 1L);
	curl.easy_setopt(c, CURLOPT_MAXREDIRS, (long)REDIRECTS_MAX);
	curl.easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
	curl.easy_setopt(c, CURLOPT_PIPEWAIT, https ? 1L : 0L); /* rather a stream than a connection */
	curl.easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	curl.easy_setopt(c, CURLOPT_CONNECTTIMEOUT, (long)(other ? OTHER_TIMEOUT_S : CONNECT_TIMEOUT_S));
	curl.easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, (long)(other && !s->at_origin ? SPEED_MIN_OTHER : SPEED_MIN));
	curl.easy_setopt(c, CURLOPT_LOW_SPEED_TIME, (long)STALLED_S);
	if (o->client_cert) {
		curl.easy_setopt(c, CURLOPT_SSLCERT, o->client_cert);
		curl.easy_setopt(c, CURLOPT_SSLKEY, o->client_cert);
	}
	if (o->port)
		curl.easy_setopt(c, CURLOPT_PORT, (long)o->port);
	if (https)
		set_authorities(s);
}

/* Which bytes are asked for: of the file, or of the tar that it is in */
static void set_range(struct slot *s)
{
	uint64_t from = s->job->at + s->at, end = s->job->bytes ? s->job->at + s->job->bytes : UINT64_MAX;
	char range[48];

	if (s->member) {
		end = s->member_at + MIN(end, s->member_bytes);
		from += s->member_at;
	}
	if (end < UINT64_MAX)
		snprintf(range, sizeof(range), "%" PRIu64 "-%" PRIu64, from, end - 1);
	else
		snprintf(range, sizeof(range), "%" PRIu64 "-", from);
	curl.easy_setopt(s->easy, CURLOPT_RANGE, range);
}

/* Send the request: the first one for a job, or one more. */
static int ask(struct slot *s, struct err *e)
{
	bool https;

	int r = check_scheme(s->batch->f, s->url, &https, &s->local, e);
	if (r < 0)
		return r;
	set_options(s, https);
	s->begun = s->dropping = false;
	s->dropped = 0;
	s->detail[0] = '\0';
	if (s->at > 0 && (s->member || (s->job->bytes && (s->whole || s->at >= s->job->bytes || s->local))))
		r = drop_content(s, e);
	if (r < 0)
		return r;
	s->whole = false;
	s->ranged = s->job->bytes ? !s->refused : s->at > 0 && !s->local && !s->restarted;
	if (s->ranged || s->member)
		set_range(s);
	s->due_ms = 0;
	if (s->tries == 0)
		s->tries = 1;
	CURLMcode code = curl.multi_add_handle(s->batch->f->multi, s->easy);
	return code ? err_set(e, -ERR_DOWNLOAD, "%s: %s", s->url, curl.multi_strerror(code)) : 0;
}

/* Into memory, unless it is for a file, or a part of an earlier run is there. */
static int open_target(struct slot *s, struct err *e)
{
	s->text = s->job->text;
	s->text_max = s->batch->dirfd >= 0 ? FETCH_IN_MEMORY : SIZE_MAX;
	if (s->batch->dirfd < 0)
		return 0;
	s->part = xasprintf("%s.part", s->job->name);
	if (!s->text)
		return open_part(s, O_CREAT, e);
	return faccessat(s->batch->dirfd, s->part, F_OK, AT_SYMLINK_NOFOLLOW) == 0 ? open_part(s, 0, e) : 0;
}

/* The base as a tar, looked at once; NULL: that is none. */
static int look_at_base(struct fetch *f, const char *base, const struct tar_source **tar, struct err *e)
{
	*tar = NULL;
	if (f->tar_base && strcmp(f->tar_base, base) == 0) {
		*tar = f->tar;
		return 0;
	}
	_cleanup_free_ char *path = url_path(base);
	if (!path)
		return 0;
	tar_source_free(take(f->tar));
	free(take(f->tar_base));
	struct stat st;
	int r = stat(path, &st) == 0 && S_ISREG(st.st_mode) ? tar_source_open(path, &f->tar, e) : 0;
	if (r < 0)
		return r;
	f->tar_base = xstrdup(base);
	*tar = f->tar;
	return 0;
}

/* When the base is a tar, the place of the job's file in it. */
static int find_member(struct slot *s, struct err *e)
{
	const struct tar_source *tar;

	int r = look_at_base(s->batch->f, s->base, &tar, e);
	if (r < 0 || !tar)
		return r;
	if (tar_source_find(tar, s->job->path, &s->member_at, &s->member_bytes) < 0)
		return err_set(e, -ERR_MISSING, "%s: the tar has no such file", s->url);
	s->member = true;
	free(s->url);
	s->url = xstrdup(s->base);
	return 0;
}

/* Names of sources have '#', '+', '%' and the like, ours have not. */
static char *make_url(const char *base, const char *path)
{
	_cleanup_(buf_free) struct buf url = {0};

	buf_printf(&url, "%s/", base);
	for (const char *s = path; *s; s++)
		if (isalnum((unsigned char)*s) || strchr("-._~/", *s))
			buf_putc(&url, *s);
		else
			buf_printf(&url, "%%%02X", (unsigned char)*s);
	return take(url.data);
}

/* Ask this source. 1: there is nothing to ask for. */
static int begin_at(struct slot *s, bool origin, struct err *e)
{
	s->at_origin = origin;
	s->base = origin ? s->mirror->origin : s->batch->base;
	free(s->url);
	s->url = make_url(s->base, s->job->path);
	s->member = s->restarted = s->refused = false;
	s->tries = 0;
	int r = find_member(s, e);
	if (r < 0)
		return r;
	if (!s->easy && !(s->easy = curl.easy_init()))
		return err_set(e, -ERR_DOWNLOAD, "%s: libcurl gives no handle", s->url);
	if (!s->opened)
		r = open_target(s, e);
	s->opened = r >= 0;
	if (r >= 0 && s->member && s->member_bytes <= s->job->at) {
		r = drop_content(s, e);
		return r < 0 ? r : 1;
	}
	return r < 0 ? r : ask(s, e);
}

/* 1: there is nothing to ask for. */
static int begin_job(struct slot *s, const struct fetch_job *job, struct err *e)
{
	s->job = job;
	s->fd = -1;
	s->batch->busy++;
	s->mirror = find_mirror(s->batch->f, s->batch->base);
	return begin_at(s, s->mirror && s->mirror->left, e);
}

/* It could not be had here: is somebody else to be asked? What is our own (the disk, limits, options) is the same anywhere. */
static bool choose_other(struct slot *s, int result, struct err *e)
{
	struct mirror *m = s->mirror;
	const bool unreachable = result == -ERR_CONNECT || result == -ERR_TLS;

	if (!m || (!unreachable && result != -ERR_MISSING && result != -ERR_DOWNLOAD))
		return false;
	if (s->at_origin) {
		if (!unreachable)
			return false;
		stay_alone(s->batch->f, m, e->text);
		return !s->missed.code;
	}
	if (m->alone)
		return false;
	if (result == -ERR_MISSING)
		err_move(&s->missed, e);
	else
		leave(s->batch->f, m, e->text);
	return true;
}

/* Free the slot. A part is kept for the next run, unless there is nothing in it or it will never be wanted. */
static void clear_slot(struct slot *s, bool keep_part)
{
	if (s->fd >= 0) {
		if (!keep_part || s->at == 0)
			(void)unlinkat(s->batch->dirfd, s->part, 0);
		close(s->fd);
	}
	free(s->url);
	free(s->part);
	err_clear(&s->missed);
	err_clear(&s->err);
	*s = (struct slot){.batch = s->batch, .easy = s->easy, .fd = -1};
	s->batch->busy--;
}

/* Tell the caller how the job ended; negative when the caller wants no more. */
static int tell_end(struct slot *s, int result, struct err *e)
{
	const struct batch *b = s->batch;
	const struct fetch_job *job = s->job;

	if (result >= 0 && s->fd < 0 && job->text)
		buf_add(job->text, "", 0); /* so that an empty one is not taken for one in a file */
	if (result >= 0 && s->fd >= 0) {
		if (renameat(b->dirfd, s->part, b->dirfd, job->name) < 0) {
			result = err_errno(e, "cannot write %s", job->name);
		} else {
			close(s->fd);
			s->fd = -1;
		}
	}
	/* kept is what can be gone on with; not when it is unwanted, nor when the disk is full and it stands in the way */
	clear_slot(s, result <= -ERR_USAGE && result != -ERR_MISSING && result != -ERR_LIMIT && !s->whole);
	if (result < 0 && job->text)
		buf_free(job->text);
	if (result >= 0)
		err_clear(e);
	int r = b->done(b->arg, job, result, e);
	if (r >= 0)
		err_clear(e);
	return r;
}

/* The job has ended here; it may go on with another source. Negative: the caller wants no more. */
static int end_job(struct slot *s, int result, struct err *e)
{
	while (result < 0 && choose_other(s, result, e)) {
		err_clear(e);
		result = begin_at(s, !s->at_origin, e);
		if (result == 0)
			return 0;
		result = MIN(result, 0);
	}
	if (result <= -ERR_USAGE && s->missed.code) {
		result = -ERR_MISSING;
		err_move(e, &s->missed);
	}
	return tell_end(s, result, e);
}

/* What the HTTP status means. *again: the next try may bring another. */
static int status_error(const struct slot *s, long code, bool *again, struct err *e)
{
	*again = code >= 500 || code == 408 || code == 429;
	if (code == 404 || code == 410)
		return err_set(e, -ERR_MISSING, "%s: not on the server (%ld)", s->url, code);
	if (code == 403)
		/* object stores answer so for what is not there */
		return err_set(e, -ERR_MISSING, "%s: forbidden (403)", s->url);
	return err_set(e, -ERR_DOWNLOAD, "%s: the server answers %ld", s->url, code);
}

static int transfer_error(const struct slot *s, CURLcode rc, bool *again, struct err *e)
{
	const char *why = *s->detail ? s->detail : curl.easy_strerror(rc);
	curl_off_t connected = 0;
	long redirects = 0;

	*again = false;
	curl.easy_getinfo(s->easy, CURLINFO_REDIRECT_COUNT, &redirects);
	switch (rc) {
	case CURLE_FILE_COULDNT_READ_FILE:
		return err_set(e, -ERR_MISSING, "%s: no such file", s->url);
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY:
	case CURLE_COULDNT_CONNECT:
		*again = s->batch->f->reached;
		return err_set(e, -ERR_CONNECT, "%s: %s", s->url, why);
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CIPHER:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_ISSUER_ERROR:
		return err_set(e, -ERR_TLS, "%s: %s", s->url, why);
	case CURLE_URL_MALFORMAT:
		return err_set(e, -ERR_CONFIG, "'%s': %s", s->url, why);
	case CURLE_OPERATION_TIMEDOUT:
		curl.easy_getinfo(s->easy, CURLINFO_CONNECT_TIME_T, &connected);
		if (connected == 0) {
			*again = s->batch->f->reached;
			return err_set(e, -ERR_CONNECT, "%s: %s", s->url, why);
		}
		break;
	case CURLE_UNSUPPORTED_PROTOCOL:
	case CURLE_TOO_MANY_REDIRECTS:
		return err_set(e, -ERR_DOWNLOAD, "%s: redirected %ld times: %s", s->url, redirects, why);
	default:
		break;
	}
	*again = !s->local; /* cut short, reset, stalled */
	return err_set(e, -ERR_DOWNLOAD, "%s: %s", s->url, why);
}

static void count(struct slot *s)
{
	curl_off_t bytes = 0;
	long redirects = 0;

	curl.easy_getinfo(s->easy, CURLINFO_SIZE_DOWNLOAD_T, &bytes);
	curl.easy_getinfo(s->easy, CURLINFO_REDIRECT_COUNT, &redirects);
	s->batch->f->bytes += (uint64_t)bytes;
	s->batch->f->requests += 1 + (uint64_t)redirects;
}

/* The next try: at once when only the range was wrong, else after a pause. True: there will be one. */
static bool try_again(struct slot *s, struct err *e)
{
	const struct fetch_options *o = &s->batch->f->o;
	curl_off_t wished = 0;

	if (s->tries > o->retries)
		return false;
	uint64_t delay = MIN((uint64_t)o->delay_s << MIN(s->tries - 1, 16U), (uint64_t)DELAY_MAX_S);
	if (curl.easy_getinfo(s->easy, CURLINFO_RETRY_AFTER, &wished) == CURLE_OK && wished > 0 && o->delay_s > 0)
		delay = MIN(MAX(delay, (uint64_t)wished), (uint64_t)DELAY_MAX_S);
	s->tries++;
	s->due_ms = now_ms() + (int64_t)delay * 1000;
	err_clear(e);
	return true;
}

/* One that says where the file ends knows ranges: there is no such part. */
static bool ends_before(struct slot *s)
{
	struct curl_header *h;
	uint64_t end;

	return curl.easy_header(s->easy, "Content-Range", 0, CURLH_HEADER, -1, &h) == CURLHE_OK &&
	       text_starts(h->value, "bytes */") && text_u64(h->value + 8, 0, UINT64_MAX, &end) >= 0 &&
	       end <= s->job->at;
}

/* Ask at once for what was not asked for before, if it is the range that was wrong. 1: so it is. */
static int try_other_range(struct slot *s, long code, struct err *e)
{
	const bool rest = s->at > 0 || !s->job->bytes, refused = code == 416 || code == 501 || code == 400;

	if (!s->ranged)
		return 0;
	if (rest && (refused || s->restarted))
		s->restarted = true; /* what we have is not the beginning of what the server has: all of it, once */
	else if (refused && !ends_before(s))
		s->refused = true;
	else
		return 0;
	s->due_ms = now_ms();
	int r = drop_content(s, e);
	return r < 0 ? r : 1;
}

/* libcurl is through with a request. Negative: the caller wants no more. */
static int on_end(struct slot *s, CURLcode rc, struct err *e)
{
	bool again = false;
	long code = 0;
	int r;

	count(s);
	curl.multi_remove_handle(s->batch->f->multi, s->easy);
	if (s->result < 0) {
		err_move(e, &s->err);
		return end_job(s, s->result, e);
	}
	curl.easy_getinfo(s->easy, CURLINFO_RESPONSE_CODE, &code);
	if (code > 0)
		s->batch->f->reached = true;
	if (rc == CURLE_OK && !s->begun)
		begin_body(s); /* an empty one */
	if (s->result < 0) {
		err_move(e, &s->err);
		return end_job(s, s->result, e);
	}
	if ((rc == CURLE_PEER_FAILED_VERIFICATION || rc == CURLE_SSL_CACERT_BADFILE) && s->by_name) {
		s->batch->f->all_authorities = true;
		s->due_ms = now_ms();
		return 0;
	}
	r = try_other_range(s, code, e);
	if (r != 0)
		return r < 0 ? end_job(s, r, e) : 0;
	if (rc == CURLE_OK && !s->dropping)
		return end_job(s, s->whole ? FETCH_WHOLE : 0, e);
	if (code >= 400 || rc == CURLE_OK)
		r = status_error(s, code, &again, e);
	else
		r = transfer_error(s, rc, &again, e);
	if (again && !has_other(s, r) && try_again(s, e))
		return 0;
	return end_job(s, r, e);
}

/* Fill free slots with jobs, and ask again where it is time. Returns how long nothing will be due, or negative. */
static int start_due(struct batch *b, struct err *e)
{
	int64_t now = now_ms(), wait = POLL_MS;

	for (size_t i = 0; i < b->n_slots; i++) {
		struct slot *s = &b->slots[i];
		int r = 0;
		while (!s->job && b->next < b->n && r >= 0) {
			r = begin_job(s, &b->jobs[b->next++], e);
			if (r != 0)
				r = end_job(s, MIN(r, 0), e);
		}
		if (r < 0)
			return r;
		if (!s->job || s->due_ms == 0)
			continue;
		if (s->due_ms > now) {
			wait = MIN(wait, s->due_ms - now);
			continue;
		}
		r = ask(s, e);
		if (r < 0 && (r = end_job(s, r, e)) < 0)
			return r;
	}
	return (int)wait;
}

static int run(struct batch *b, struct err *e)
{
	int left, running;

	for (;;) {
		int wait = start_due(b, e);
		if (wait < 0)
			return wait;
		if (b->busy == 0 && b->next == b->n)
			return 0;
		CURLMcode code = curl.multi_perform(b->f->multi, &running);
		bool ended = false;
		for (const CURLMsg *msg; !code && (msg = curl.multi_info_read(b->f->multi, &left)) != NULL;) {
			struct slot *s = NULL;
			if (msg->msg != CURLMSG_DONE)
				continue;
			CURLcode rc = msg->data.result; /* msg dies with the handle's removal */
			curl.easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &s);
			int r = on_end(s, rc, e);
			if (r < 0)
				return r;
			ended = true;
		}
		if (!code && !ended)
			code = curl.multi_poll(b->f->multi, NULL, 0, wait, NULL);
		if (code)
			return err_set(e, -ERR_DOWNLOAD, "libcurl: %s", curl.multi_strerror(code));
	}
}

static int run_batch(struct batch *b, struct err *e)
{
	int r = start(b->f, e);

	if (r < 0)
		return r;
	b->n_slots = MIN((size_t)b->f->o.parallel, b->n);
	b->slots = xcalloc(b->n_slots, sizeof(*b->slots));
	for (size_t i = 0; i < b->n_slots; i++)
		b->slots[i] = (struct slot){.batch = b, .fd = -1};
	r = run(b, e);
	for (size_t i = 0; i < b->n_slots; i++) {
		struct slot *s = &b->slots[i];
		if (s->job) {
			curl.multi_remove_handle(b->f->multi, s->easy);
			clear_slot(s, !s->whole);
		}
		curl.easy_cleanup(s->easy);
	}
	free(b->slots);
	return r;
}

/* fetch_text: its one job's failure is the failure of all */
static int pass_on(void *arg __attribute__((unused)), const struct fetch_job *job __attribute__((unused)), int result,
		   struct err *e __attribute__((unused)))
{
	return result;
}

/* The first question of a run, which mostly is the only one. 1: it could not be had so. */
static int ask_plainly(struct fetch *f, const char *url, size_t max, struct buf *out, struct err *e)
{
	if (f->multi || f->asked || f->o.port || !f->o.allow_http || max > SMALL_TEXT_MAX)
		return 1;
	f->asked = true;
	int r = plain_http_get(url, f->o.user_agent, max, out);
	if (r < 0 && r != -ERR_MISSING)
		return 1;
	f->reached = true;
	f->requests++;
	if (r < 0)
		return err_set(e, r, "%s: not on the server", url);
	f->bytes += out->len;
	return 0;
}

int fetch_text(struct fetch *f, const char *base, const char *path, size_t max, struct buf *out, struct err *e)
{
	_cleanup_free_ char *url = make_url(base, path);
	_cleanup_(buf_free) struct buf text = {0};
	const struct fetch_job job = {.path = path, .max = max, .text = &text};
	struct batch b = {.f = f, .base = base, .dirfd = -1, .jobs = &job, .n = 1, .done = pass_on};
	const struct mirror *m = find_mirror(f, base);
	struct err why = ERR_INIT;

	int r = ask_plainly(f, url, max, &text, &why);
	if (r > 0 || (r == -ERR_MISSING && m)) {
		err_clear(&why);
		r = run_batch(&b, &why);
	}
	err_move(r < 0 ? e : NULL, &why);
	if (r < 0)
		return r;
	buf_add(&text, "", 0);
	buf_free(out);
	buf_move(out, &text);
	return 0;
}

int fetch_files(struct fetch *f, const char *base, int dirfd, const struct fetch_job *jobs, size_t n,
		fetch_done_fn *done, void *arg, struct progress *p, struct err *e)
{
	struct batch b = {
		.f = f,
		.base = base,
		.dirfd = dirfd,
		.jobs = jobs,
		.n = n,
		.done = done,
		.arg = arg,
		.progress = p,
	};
	struct err local = ERR_INIT;

	/* done's text must be there although our caller wants none */
	int r = run_batch(&b, &local);
	err_move(r < 0 ? e : NULL, &local);
	return r;
}
