/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/base/ui.h"
#include "swupd/client/catalog.h"
#include "swupd/client/fetch.h"
#include "swupd/client/machine.h"
#include "swupd/client/plan.h"
#include "swupd/client/trust.h"
#include "swupd/content/format.h"
#include "swupd/content/layout.h"
#include "swupd/content/manifest.h"
#include "swupd/content/tar.h"

#define MOM_MAX (16UL << 20) /* 100 000 bundles of 160 bytes */

struct mom_text {
	struct buf text, sig;
};

static void mom_text_free(struct mom_text *t)
{
	buf_free(&t->text);
	buf_free(&t->sig);
}

/* Signed, the one that the freshness statement speaks of, and of this release. */
static int verify_and_parse(const struct machine *m, uint32_t release, const struct mom_text *t, struct manifest **out,
			    struct err *e)
{
	struct digest hash;
	int r;

	if (!m->opts->nosigcheck) {
		if (t->sig.len == 0)
			return err_set(e, -ERR_SIGNATURE, "it is not signed");
		r = trust_verify(m, t->text.data, t->text.len, t->sig.data, t->sig.len, e);
		if (r < 0)
			return r;
		manifest_hash(t->text.data, t->text.len, &hash);
		if (m->trust->fresh.release == release && !digest_equal(&m->trust->fresh.mom, &hash))
			return err_set(e, -ERR_DIGEST, "it is not the one that the freshness file speaks of");
	}
	return manifest_parse(t->text.data, t->text.len, true, release, out, e);
}

/* Another content URL may be another product, with the same numbers. */
static char *cache_name(const struct machine *m, uint32_t release)
{
	char hex[17];
	struct digest d;

	sha256_mem(m->content_url, strlen(m->content_url), &d);
	text_hex(d.bytes, 8, hex);
	return xasprintf("mom/%s-%" PRIu32, hex, release);
}

/* A copy that is damaged, or was signed by keys that are trusted no more, is as good as none. */
static bool from_cache(const struct machine *m, const char *name, uint32_t release, struct mom_text *t,
		       struct manifest **out)
{
	_cleanup_free_ char *sig_name = xasprintf("%s.sig", name);
	struct err why = ERR_INIT;

	if (m->cache < 0 || fs_load(m->cache, name, MOM_MAX, &t->text, NULL) < 0)
		return false;
	(void)fs_load(m->cache, sig_name, SIGNATURE_MAX, &t->sig, NULL);
	int r = verify_and_parse(m, release, t, out, &why);
	if (r < 0)
		ui_debug(m->ui, "the cached MoM of release %" PRIu32 " is not used: %s", release, why.text);
	err_clear(&why);
	return r >= 0;
}

/*
 * Has the installed tree the stamp of this MoM's release? A mix that was cut anew, with the numbers and the key of another, has that of its own day. A release whose manifest is
 * not here is of no use without its server.
 */
static bool is_installed(const struct machine *m, const struct manifest *mom)
{
	_cleanup_(fs_parent_close) struct fs_parent root = FS_PARENT_OF(m->root);
	_cleanup_(manifest_freep) struct manifest *core = NULL;
	_cleanup_(buf_free) struct buf text = {0};
	const struct entry *listed = manifest_find(mom, "os-core");
	char hex[DIGEST_HEX];
	struct digest hash;

	if (!listed)
		return true;
	digest_format(&listed->hash, hex);
	_cleanup_free_ char *name = xasprintf("manifest/%s", hex);
	if (fs_load(m->cache, name, MANIFEST_MAX, &text, NULL) < 0)
		return false;
	manifest_hash(text.data, text.len, &hash);
	if (!digest_equal(&hash, &listed->hash) ||
	    manifest_parse(text.data, text.len, false, listed->release, &core, NULL) < 0)
		return false;
	const struct entry *stamp = manifest_find(core, "/" INSTALLED_VERSIONSTAMP);
	return !stamp || entry_on_disk(&root, stamp) != DISK_DIFFERENT;
}

/*
 * What came from another content URL, signed all the same: of the installed release, since a stick or a mirror need not have that, or of one that was downloaded.
 */
static bool from_other(const struct machine *m, uint32_t release, struct mom_text *t, struct manifest **out)
{
	_cleanup_free_ char *end = xasprintf("-%" PRIu32, release);
	_cleanup_(strv_free) struct strv names = {0};

	/* without signatures nothing tells another product's */
	if ((release != m->release && !m->offline) || m->opts->nosigcheck || m->cache < 0 ||
	    fs_list(m->cache, "mom", &names, NULL) < 0)
		return false;
	strv_sort_unique(&names);
	for (size_t i = 0; i < names.n; i++) {
		_cleanup_free_ char *name = xasprintf("mom/%s", names.items[i]);
		_cleanup_(manifest_freep) struct manifest *mom = NULL;
		mom_text_free(t);
		if (!text_ends(name, end) || !from_cache(m, name, release, t, &mom) ||
		    (release == m->release && !is_installed(m, mom)))
			continue;
		*out = take(mom);
		return true;
	}
	return false;
}

int catalog_load_mom_text(const struct machine *m, uint32_t release, struct buf *text)
{
	_cleanup_free_ char *name = cache_name(m, release);

	return m->cache < 0 ? -ENOENT : fs_load(m->cache, name, MOM_MAX, text, NULL);
}

int catalog_save_mom_text(const struct machine *m, uint32_t release, const struct buf *text,
			  const struct buf *signature, struct err *e)
{
	_cleanup_free_ char *name = cache_name(m, release), *sig_name = xasprintf("%s.sig", name);

	if (m->cache < 0)
		return 0;
	int r = fs_mkdirs(m->cache, "mom", 0755, e);
	if (r >= 0)
		r = fs_save_cache(m->cache, name, text->data, text->len, 0644, e);
	if (r >= 0 && signature->len)
		r = fs_save_cache(m->cache, sig_name, signature->data, signature->len, 0644, e);
	return r;
}

/* The signature in the tar is enough for most; one that was made later lies beside it. Without it r and e stay. */
static int fetch_signature(const struct machine *m, uint32_t release, struct mom_text *t, int r, struct err *e)
{
	_cleanup_free_ char *path = layout_mom_signature(release);
	struct err why = ERR_INIT;

	int got = fetch_text(m->fetch, m->content_url, path, SIGNATURE_MAX, &t->sig, &why);
	if (got >= 0 || got == -ERR_MISSING) {
		err_clear(&why);
		return got >= 0 ? 0 : r;
	}
	err_move(e, &why);
	return got;
}

static int fetch_mom(const struct machine *m, uint32_t release, struct mom_text *t, struct manifest **out,
		     struct err *e)
{
	static const char *const names[] = {"Manifest.MoM", "Manifest.MoM.sig"};
	_cleanup_free_ char *path = layout_mom(release);
	_cleanup_(buf_free) struct buf tar = {0};
	struct buf texts[2] = {0};

	int r = fetch_text(m->fetch, m->content_url, path, MOM_MAX, &tar, e);
	if (r < 0)
		return r;
	r = tar_read_texts(tar.data, tar.len, names, ARRAY_LEN(names), MOM_MAX, texts, e);
	t->text = texts[0];
	t->sig = texts[1];
	if (r >= 0 && t->text.len == 0)
		r = err_set(e, -ERR_FORMAT, "there is no Manifest.MoM in it");
	if (r < 0)
		return err_in(e, r, "%s", path);
	r = verify_and_parse(m, release, t, out, e);
	if (r != -ERR_SIGNATURE && r != -ERR_EXPIRED)
		return r;
	r = fetch_signature(m, release, t, r, e);
	return r < 0 ? r : verify_and_parse(m, release, t, out, e);
}

/* What tells more than "there is no MoM" stays: the way to the server, the keys, our own disk. */
static int mom_error(int r, struct err *e)
{
	switch (r) {
	case -ERR_CONNECT:
	case -ERR_TLS:
	case -ERR_CONFIG:
	case -ERR_SIGNATURE:
	case -ERR_EXPIRED:
	case -ERR_STALE:
		return r;
	default:
		return r > -ERR_USAGE ? r : err_as(e, -ERR_MOM);
	}
}

/* From this content URL, if it can be had there. */
static int fetch_or_find(struct machine *m, uint32_t release, struct mom_text *t, struct manifest **out, struct err *e)
{
	if (m->offline && from_other(m, release, t, out))
		return 0;
	fetch_machine(m);
	int r = fetch_mom(m, release, t, out, e);
	if (fetch_leave(m->fetch, m->content_url, r, e)) {
		mom_text_free(t);
		r = fetch_mom(m, release, t, out, e);
	}
	if (r > -ERR_USAGE || !from_other(m, release, t, out))
		return r;
	ui_debug(m->ui, "the MoM of release %" PRIu32 " is one that came from elsewhere: %s", release, e->text);
	err_clear(e);
	return 0;
}

int catalog_mom(struct machine *m, uint32_t release, struct manifest **out, struct err *e)
{
	_cleanup_(mom_text_free) struct mom_text cached = {0}, t = {0};
	_cleanup_(manifest_freep) struct manifest *mom = NULL;
	_cleanup_free_ char *name = cache_name(m, release);

	if (from_cache(m, name, release, &cached, out))
		return 0;
	int r = fetch_or_find(m, release, &t, &mom, e);
	if (r >= 0)
		r = catalog_save_mom_text(m, release, &t.text, &t.sig, e);
	if (r < 0)
		return err_in(e, mom_error(r, e), "the MoM of release %" PRIu32, release);
	*out = take(mom);
	return 0;
}

int catalog_check_format(const struct machine *m, const struct manifest *mom, struct err *e)
{
	if (m->format == 0 || mom->format == m->format)
		return 0;
	return err_hint(e,
			err_set(e, -ERR_MANIFEST,
				"release %" PRIu32 " is of format %" PRIu32 ", this system of %" PRIu32, mom->release,
				mom->format, m->format),
			"--format=%" PRIu32 " names the other format", mom->format);
}
