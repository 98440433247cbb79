/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/client/trust.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/base/ui.h"
#include "swupd/client/catalog.h"
#include "swupd/client/fetch.h"
#include "swupd/client/machine.h"
#include "swupd/content/format.h"
#include "swupd/content/layout.h"
#include "swupd/content/root.h"
#include "swupd/content/signature.h"

#define CLOCK_BEHIND_MAX 86400 /* seconds; the predecessor's slack: a battery clock drifts, and a zone may be wrong */
#define STAMP_DIGITS     10    /* of the version stamp; what follows was never read (spec/swupd-format.md section 7) */
#define CERTIFICATE_MAX  (1UL << 20)
#define ADOPTED_DIR      "trust"
#define ADOPTED          ADOPTED_DIR "/root" /* in the data directory */
#define SEEN             "seen"              /* in the data directory */

void trust_free(struct trust *t)
{
	if (!t)
		return;
	root_free(t->root);
	freshness_clear(&t->fresh);
	free(t);
}

static int load_beneath(int root, const char *path, size_t max, struct buf *out, struct err *e)
{
	_cleanup_close_ int fd = fs_open_beneath(root, path, O_RDONLY | O_NONBLOCK, 0, e);

	return fd < 0 ? fd : fs_load_fd(fd, path, max, out, e);
}

/* A clock that is behind what is installed cannot judge dates. It is told, never set. */
static int check_clock(const struct machine *m, struct err *e)
{
	_cleanup_(buf_free) struct buf text = {0};
	uint64_t stamp;

	int r = load_beneath(m->root, INSTALLED_VERSIONSTAMP, SMALL_TEXT_MAX, &text, e);
	if (r == -ENOENT && m->release == 0) {
		err_clear(e);
		return 0;
	}
	if (r < 0)
		return err_hint(e, err_in(e, -ERR_CLOCK, "cannot check the clock"),
				"--ignore-time goes on without that check");
	size_t digits = MIN(strspn(text.data, "0123456789"), (size_t)STAMP_DIGITS);
	if (text_u64_n(text.data, digits, 0, INT64_MAX, &stamp) < 0)
		return err_hint(
			e,
			err_set(e, -ERR_CLOCK, "cannot check the clock: %s has no time in it", INSTALLED_VERSIONSTAMP),
			"--ignore-time goes on without that check");
	if (m->now >= (int64_t)stamp - CLOCK_BEHIND_MAX)
		return 0;
	_cleanup_free_ char *now = text_time(m->now), *made = text_time((int64_t)stamp);
	return err_hint(e,
			err_set(e, -ERR_CLOCK, "the clock says %s, but release %" PRIu32 " was made on %s", now,
				m->release, made),
			"set the clock, or use --ignore-time");
}

/* The release keys of our root. Should all have expired, newer ones may still be learned: trust_verify tells. */
static int use_root(struct machine *m, struct err *e)
{
	struct anchors *a = NULL;

	int r = root_anchors(m->trust->root, m->now, &a, e);
	if (r < 0 && r != -ERR_EXPIRED)
		return r;
	err_clear(e);
	anchors_free(m->anchors);
	m->anchors = a;
	return 0;
}

/* -C may name a root file: the walk begins there, not at root 1, whose keys may be long gone. */
static int use_named_root(struct machine *m, const struct buf *text, struct err *e)
{
	int r = root_parse(text->data, text->len, &m->trust->root, e);

	return r < 0 ? err_in(e, -ERR_SIGNATURE, "%s", m->opts->certpath) : use_root(m, e);
}

/* The certificate of -C, or the installed one; of the host when the root is still empty. */
static int load_certificate(struct machine *m, struct err *e)
{
	_cleanup_(buf_free) struct buf pem = {0};
	const char *name = m->opts->certpath ? m->opts->certpath : INSTALLED_CERTIFICATE;

	int r = m->opts->certpath ? fs_load(AT_FDCWD, name, CERTIFICATE_MAX, &pem, e)
				  : load_beneath(m->root, name, CERTIFICATE_MAX, &pem, e);
	if (r == -ENOENT && !m->opts->certpath && m->release == 0)
		r = fs_load(AT_FDCWD, "/" INSTALLED_CERTIFICATE, CERTIFICATE_MAX, &pem, e);
	if (r < 0)
		return err_hint(e, err_in(e, -ERR_SIGNATURE, "no certificate to check releases with"),
				"name it with --certpath=FILE; --nosigcheck would install what anybody made");
	if (m->opts->certpath && text_starts(pem.data, "ROOT\t"))
		return use_named_root(m, &pem, e);
	r = anchors_load(pem.data, pem.len, m->now, &m->anchors, e);
	return r < 0 ? err_in(e, r == -ERR_FORMAT ? -ERR_SIGNATURE : r, "%s", name) : 0;
}

/* 1: text is the root file that this system adopted; 0: it has none. Who may not open the data directory may still read it in its usual place. */
static int load_adopted(const struct machine *m, struct buf *text, struct err *e)
{
	if (m->data >= 0 && !fs_exists(m->data, ADOPTED))
		return 0;
	if (m->data >= 0) {
		int r = fs_load(m->data, ADOPTED, SMALL_TEXT_MAX, text, e);
		return r < 0 ? r : 1;
	}
	if (m->opts->datadir || m->opts->statedir)
		return 0;
	return load_beneath(m->root, INSTALLED_STATE "/" ADOPTED, SMALL_TEXT_MAX, text, NULL) >= 0;
}

/* The root keys that were adopted, or came with the installed release, whichever is newer. NULL: the tree had none so far. */
static int load_root(struct machine *m, struct err *e)
{
	_cleanup_(buf_free) struct buf text = {0};
	_cleanup_(root_freep) struct root_keys *installed = NULL;
	struct err why = ERR_INIT;

	int r = load_adopted(m, &text, e);
	if (r > 0)
		r = root_parse(text.data, text.len, &m->trust->root, e);
	/* going on without would trust keys that were withdrawn since */
	if (r < 0)
		return err_hint(e, err_in(e, -ERR_SIGNATURE, "the root keys of this system cannot be read"),
				"remove " ADOPTED
				" from the data directory to begin again from the installed certificate");
	r = load_beneath(m->root, INSTALLED_ROOT, SMALL_TEXT_MAX, &text, &why);
	/* as with the certificate: an empty root is installed by who is installed */
	if (r == -ENOENT && m->release == 0)
		r = fs_load(AT_FDCWD, "/" INSTALLED_ROOT, SMALL_TEXT_MAX, &text, &why);
	if (r >= 0)
		r = root_parse(text.data, text.len, &installed, &why);
	if (r < 0 && r != -ENOENT)
		ui_warn(m->ui, "the installed root keys are not used: %s", why.text);
	err_clear(&why);
	if (installed && (!m->trust->root || root_number(installed) > root_number(m->trust->root))) {
		root_free(m->trust->root);
		m->trust->root = take(installed);
	}
	return 0;
}

int trust_load(struct machine *m, struct err *e)
{
	int r = 0;

	m->trust = xcalloc(1, sizeof(*m->trust));
	if (!m->opts->ignore_time)
		r = check_clock(m, e);
	if (r < 0 || m->opts->nosigcheck)
		return r;
	if (!m->opts->certpath)
		r = load_root(m, e);
	if (r < 0)
		return r;
	return m->trust->root ? use_root(m, e) : load_certificate(m, e);
}

int trust_ready(const struct machine *m, struct err *e)
{
	if (m->anchors)
		return 0;
	return err_hint(e, err_set(e, -ERR_EXPIRED, "all release keys that this system knows have expired"),
			"check the clock and the version URL: newer keys are learned from there");
}

int trust_verify(const struct machine *m, const void *data, size_t len, const void *sig, size_t sig_len, struct err *e)
{
	int r = trust_ready(m, e);

	return r < 0 ? r : signature_verify(m->anchors, data, len, sig, sig_len, m->now, e);
}

static int keep_root(const struct machine *m, const struct buf *text, struct err *e)
{
	if (m->data < 0 || m->opts->certpath)
		return 0;
	int r = fs_mkdirs(m->data, ADOPTED_DIR, 0755, e);
	return r < 0 ? r : fs_save(m->data, ADOPTED, text->data, text->len, 0644, e);
}

static int learn_one(struct machine *m, uint32_t number, struct err *e)
{
	_cleanup_(root_freep) struct root_keys *next = NULL;
	_cleanup_(buf_free) struct buf text = {0};
	_cleanup_free_ char *path = layout_root(number);
	struct trust *t = m->trust;

	int r = fetch_text(m->fetch, m->version_url, path, SMALL_TEXT_MAX, &text, e);
	if (r == -ERR_MISSING)
		return err_as(e, -ERR_SIGNATURE);
	if (r >= 0)
		r = root_parse(text.data, text.len, &next, e);
	if (r >= 0 && root_number(next) != number)
		r = err_set(e, -ERR_FORMAT, "it is root %" PRIu32, root_number(next));
	if (r >= 0)
		r = t->root ? root_verify(t->root, next, e) : root_verify_first(next, m->anchors, e);
	if (r == -ERR_FORMAT || r == -ERR_LIMIT || r == -ERR_STALE)
		r = err_as(e, -ERR_SIGNATURE);
	if (r >= 0)
		r = keep_root(m, &text, e);
	if (r < 0)
		return err_in(e, r, "%s", path);
	root_free(t->root);
	t->root = take(next);
	return 0;
}

int trust_learn(struct machine *m, uint32_t newest, struct err *e)
{
	uint32_t have = m->trust->root ? root_number(m->trust->root) : 0;

	if (newest <= have)
		return 0;
	for (uint32_t n = have + 1; n <= newest; n++) {
		int r = learn_one(m, n, e);
		if (r == -ERR_SIGNATURE && n == 1)
			(void)err_hint(e, r,
				       "machines that are installed after a change of keys begin with a root file: "
				       "--certpath=FILE with the tree's version/root/%" PRIu32,
				       newest);
		if (r < 0)
			return err_in(e, r, "cannot learn the newest keys");
		if (n == UINT32_MAX)
			break;
	}
	return use_root(m, e);
}

static bool seen_parse(const char *line, uint32_t *format, struct seen *out)
{
	_cleanup_(strv_free) struct strv w = {0};
	uint64_t when;
	uint32_t freshness;

	strv_split(&w, line, " ");
	*out = (struct seen){0};
	if (w.n != 8 || strcmp(w.items[0], "format") != 0 || text_u32(w.items[1], 0, UINT32_MAX, format) < 0 ||
	    strcmp(w.items[2], "release") != 0 || text_u32(w.items[3], 0, UINT32_MAX, &out->release) < 0 ||
	    strcmp(w.items[4], "time") != 0 || text_u64(w.items[5], 0, INT64_MAX, &when) < 0 ||
	    strcmp(w.items[6], "freshness") != 0 || text_u32(w.items[7], 0, 1, &freshness) < 0)
		return false;
	out->time = (int64_t)when;
	out->freshness = freshness;
	return true;
}

/* Lines of other formats are added to others (may be NULL). */
static int seen_read(const struct machine *m, struct seen *out, struct buf *others, struct err *e)
{
	_cleanup_(buf_free) struct buf text = {0};
	const char *line;
	size_t len;

	*out = (struct seen){0};
	if (m->data < 0 || !fs_exists(m->data, SEEN))
		return 0;
	int r = fs_load(m->data, SEEN, SMALL_TEXT_MAX, &text, e);
	if (r < 0)
		return r;
	for (const char *pos = text.data, *end = text.data + text.len; text_line(&pos, end, &line, &len, NULL);) {
		_cleanup_free_ char *copy = xstrndup(line, len);
		struct seen one;
		uint32_t format;
		if (!seen_parse(copy, &format, &one))
			ui_warn(m->ui, "a line of '%s' in the data directory is not understood: %s", SEEN, copy);
		else if (format == m->format)
			*out = one;
		else if (others)
			buf_printf(others, "%s\n", copy);
	}
	return 0;
}

int seen_load(const struct machine *m, struct seen *out, struct err *e)
{
	return seen_read(m, out, NULL, e);
}

int seen_check(const struct machine *m, const struct seen *before, const struct seen *now, struct err *e)
{
	int r = 0;

	if (now->release < before->release) {
		r = err_set(e, -ERR_STALE,
			    "the server says that release %" PRIu32 " is the newest, but release %" PRIu32
			    " was seen before",
			    now->release, before->release);
	} else if (before->freshness && !now->freshness) {
		r = err_set(e, -ERR_STALE, "the server has no freshness file for format %s any more", m->format_text);
	} else if (now->time < before->time) {
		_cleanup_free_ char *then = text_time(now->time), *seen = text_time(before->time);
		r = err_set(e, -ERR_STALE, "what the server says is from %s, but a statement from %s was seen before",
			    then, seen);
	}
	return r < 0 ? err_hint(e, r, "a mirror may be out of date; to go back on purpose name the release: --version")
		     : 0;
}

int seen_save(const struct machine *m, const struct seen *now, struct err *e)
{
	_cleanup_(buf_free) struct buf text = {0};
	struct seen before, high;

	if (m->data < 0)
		return 0;
	int r = seen_read(m, &before, &text, e);
	if (r < 0)
		return r;
	high = (struct seen){
		.release = MAX(before.release, now->release),
		.time = MAX(before.time, now->time),
		.freshness = before.freshness || now->freshness,
	};
	if (high.release == before.release && high.time == before.time && high.freshness == before.freshness)
		return 0;
	buf_printf(&text, "format %" PRIu32 " release %" PRIu32 " time %" PRId64 " freshness %d\n", m->format,
		   high.release, high.time, high.freshness);
	return fs_save(m->data, SEEN, text.data, text.len, 0644, e);
}
