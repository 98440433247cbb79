/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "swupd/base/err.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/client/catalog.h"
#include "swupd/client/fetch.h"
#include "swupd/client/machine.h"
#include "swupd/client/trust.h"
#include "swupd/content/format.h"
#include "swupd/content/layout.h"

/* Which release is the newest: freshness(5), or the predecessor's latest and latest_version. */

/* What the server says is neither checked nor remembered. */
static bool unchecked(const struct machine *m)
{
	return m->opts->nosigcheck || m->opts->nosigcheck_latest;
}

/* Compare with what was seen before, and remember what is new. --nosigcheck-latest may not lead back either. */
static int compare_and_remember(struct machine *m, const struct seen *now, struct err *e)
{
	struct seen before;

	if (m->opts->nosigcheck || m->format == 0)
		return 0;
	int r = seen_load(m, &before, e);
	if (r >= 0)
		r = seen_check(m, &before, now, e);
	if (r >= 0 && !unchecked(m))
		r = seen_save(m, now, e);
	return r;
}

static int read_freshness(struct machine *m, const struct buf *text, struct freshness *f, struct err *e)
{
	int r = freshness_parse(text->data, text->len, f, NULL, NULL, e);

	if (r < 0 || unchecked(m))
		return r;
	r = trust_learn(m, f->root, e);
	if (r < 0)
		return r;
	r = trust_ready(m, e);
	if (r < 0)
		return r;
	freshness_clear(f);
	r = freshness_read(text->data, text->len, m->format, m->anchors, m->now, f, e);
	if (r == -ERR_EXPIRED)
		return err_hint(e, r,
				"the server may be a mirror that is no longer kept; --version names a release all the "
				"same");
	if (r < 0)
		return r;
	uint32_t root = m->trust->root ? root_number(m->trust->root) : 0;
	if (f->root < root)
		return err_set(e, -ERR_STALE,
			       "it was signed when root %" PRIu32 " was the newest, we know root %" PRIu32, f->root,
			       root);
	freshness_clear(&m->trust->fresh);
	m->trust->fresh = *f;
	f->direct = (struct ways){0};
	return 0;
}

/* 1: the tree has a freshness file, and *release is from it; 0: it has none. */
static int newest_by_freshness(struct machine *m, uint32_t *release, struct err *e)
{
	_cleanup_(buf_free) struct buf text = {0};
	_cleanup_(freshness_clear) struct freshness f = {0};

	if (m->format == 0)
		return 0;
	_cleanup_free_ char *path = layout_freshness(m->format);
	int r = fetch_text(m->fetch, m->version_url, path, SMALL_TEXT_MAX, &text, e);
	if (r == -ERR_MISSING) {
		err_clear(e);
		return 0;
	}
	if (r < 0)
		return r;
	r = read_freshness(m, &text, &f, e);
	if (r == -ERR_FORMAT || r == -ERR_LIMIT)
		r = err_as(e, -ERR_SIGNATURE);
	if (r < 0)
		return err_in(e, r, "%s", path);
	const struct seen now = {.release = f.release, .time = f.time, .freshness = true};
	r = compare_and_remember(m, &now, e);
	if (r < 0)
		return r;
	*release = f.release;
	return 1;
}

/* The first line is a number; more lines, of older releases, may follow (spec/swupd-format.md section 1.2). */
static int parse_latest(const struct buf *text, uint32_t *release)
{
	size_t digits = strspn(text->data, "0123456789");
	uint64_t n;

	if (text_u64_n(text->data, digits, 1, INT32_MAX, &n) < 0 || !strchr(" \t\r\n", text->data[digits]))
		return -EINVAL;
	*release = (uint32_t)n;
	return 0;
}

/* A signed number. What is behind path decides nothing before the signature is verified. */
static int fetch_latest(struct machine *m, const char *path, uint32_t *release, struct err *e)
{
	_cleanup_(buf_free) struct buf text = {0}, sig = {0};
	_cleanup_free_ char *sig_path = xasprintf("%s.sig", path);

	int r = fetch_text(m->fetch, m->version_url, path, SMALL_TEXT_MAX, &text, e);
	if (r == -ERR_MISSING || r == -ERR_DOWNLOAD || r == -ERR_LIMIT)
		return err_hint(e, err_as(e, -ERR_CONNECT), "is the version URL right, and is the format?");
	if (r < 0)
		return r;
	if (!unchecked(m)) {
		r = fetch_text(m->fetch, m->version_url, sig_path, SIGNATURE_MAX, &sig, e);
		if (r == -ERR_MISSING)
			r = err_hint(e, err_as(e, -ERR_SIGNATURE),
				     "--nosigcheck-latest goes on without, the content is checked all the same");
		if (r >= 0)
			r = trust_verify(m, text.data, text.len, sig.data, sig.len, e);
		if (r < 0)
			return err_in(e, r, "%s", path);
	}
	if (parse_latest(&text, release) < 0)
		return err_set(e, -ERR_CONNECT, "%s: there is no release number in it", path);
	return 0;
}

static int newest(struct machine *m, uint32_t *release, struct err *e)
{
	int r = newest_by_freshness(m, release, e);
	if (r != 0)
		return MIN(r, 0);
	_cleanup_free_ char *path =
		m->format ? layout_latest(m->format) : xasprintf("version/format%s/latest", m->format_text);
	struct seen now = {0};
	r = fetch_latest(m, path, &now.release, e);
	if (r >= 0)
		r = compare_and_remember(m, &now, e);
	if (r >= 0)
		*release = now.release;
	return r;
}

int catalog_newest(struct machine *m, uint32_t *release, struct err *e)
{
	fetch_machine(m);
	int r = newest(m, release, e);
	/* a mirror that is out of date, or lies */
	if (fetch_leave(m->fetch, m->version_url, r, e))
		r = newest(m, release, e);
	return r < 0 ? err_in(e, r, "cannot tell the newest release") : 0;
}

/* Without a freshness file, where there was one, latest_version may be any that was ever signed. */
static int check_freshness_is_there(const struct machine *m, struct err *e)
{
	struct seen before;

	if (unchecked(m) || m->format == 0)
		return 0;
	int r = seen_load(m, &before, e);
	const struct seen now = {.release = before.release, .time = before.time};
	return r < 0 ? r : seen_check(m, &before, &now, e);
}

int catalog_newest_any(struct machine *m, uint32_t *release, struct err *e)
{
	_cleanup_free_ char *path = layout_latest_version();
	uint32_t n = 0, of_format = 0;

	fetch_machine(m);
	int r = newest_by_freshness(m, &of_format, e);
	if (r == 0)
		r = check_freshness_is_there(m, e);
	if (r >= 0)
		r = fetch_latest(m, path, &n, e);
	if (r < 0)
		return err_in(e, r, "cannot tell the newest release");
	/* latest_version says neither which keys sign it nor how old it is */
	*release = MAX(n, of_format);
	return 0;
}
