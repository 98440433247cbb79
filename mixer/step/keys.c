/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "mixer/step/step.h"
#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/base/ui.h"
#include "swupd/content/format.h"
#include "swupd/content/layout.h"

#define WWW       "update/www"
#define ROOTS     WWW "/version/root"
#define KEYS      "keys"
#define NEW       KEYS "/.new"
#define KEY_NAME  "private.pem"
#define CERT_NAME "Swupd_Root.pem"
#define KEY_YEARS 10

/* keys/<number>/<name>; caller frees. */
static char *kept_path(uint32_t number, const char *name)
{
	return xasprintf(KEYS "/%" PRIu32 "/%s", number, name);
}

uint32_t keys_newest_root(const struct mix *m)
{
	_cleanup_(strv_free) struct strv names = {0};
	uint32_t newest = 0, n;

	if (fs_list(m->config->dir, ROOTS, &names, NULL) < 0)
		return 0;
	for (size_t i = 0; i < names.n; i++)
		if (text_u32(names.items[i], 1, UINT32_MAX - 1, &n) == 0)
			newest = MAX(newest, n);
	return newest;
}

static int load_root(const struct mix *m, const char *path, struct buf *text, struct root_keys **out, struct err *e)
{
	int r = fs_load(m->config->dir, path, SMALL_TEXT_MAX, text, e);

	if (r >= 0)
		r = root_parse(text->data, text->len, out, e);
	return r < 0 ? err_in(e, r, "%s", path) : 0;
}

int keys_load_root(const struct mix *m, uint32_t number, struct root_keys **out, struct err *e)
{
	_cleanup_free_ char *name = layout_root(number), *path = xasprintf(WWW "/%s", name);
	_cleanup_(buf_free) struct buf text = {0};

	return load_root(m, path, &text, out, e);
}

int keys_anchors(const struct mix *m, int64_t now, struct anchors **out, struct err *e)
{
	_cleanup_(root_freep) struct root_keys *root = NULL;
	_cleanup_(buf_free) struct buf pem = {0};
	const char *cert = m->config->signer.cert;
	uint32_t newest = keys_newest_root(m);

	if (newest) {
		int r = keys_load_root(m, newest, &root, e);
		return r < 0 ? r : root_anchors(root, now, out, e);
	}
	int r = fs_load(AT_FDCWD, cert, SIGNATURE_MAX, &pem, e);
	if (r < 0)
		return err_in(e, r, "the mix's certificate");
	r = anchors_load(pem.data, pem.len, now, out, e);
	return r < 0 ? err_in(e, r, "%s", cert) : 0;
}

static int save_root(const struct mix *m, uint32_t number, const struct buf *text, struct err *e)
{
	_cleanup_free_ char *name = layout_root(number), *path = xasprintf(WWW "/%s", name);

	int r = fs_mkdirs(m->config->dir, ROOTS, 0755, e);
	return r < 0 ? r : fs_save(m->config->dir, path, text->data, text->len, 0644, e);
}

/* Two files; the second is named in mixer.conf, thus absolute. */
static bool same_file(const struct mix *m, const char *a, const char *b)
{
	_cleanup_(buf_free) struct buf x = {0}, y = {0};

	return fs_load(m->config->dir, a, SMALL_TEXT_MAX, &x, NULL) >= 0 &&
	       fs_load(m->config->dir, b, SMALL_TEXT_MAX, &y, NULL) >= 0 && x.len == y.len &&
	       memcmp(x.data, y.data, x.len) == 0;
}

/* Is the release key a file, which we can replace? Not with a command or a provider's URI. */
static bool key_is_file(const struct mix *m)
{
	return m->config->signer.key && m->config->signer.key[0] == '/';
}

static bool key_is_kept(const struct mix *m)
{
	_cleanup_(strv_free) struct strv names = {0};

	(void)fs_list(m->config->dir, KEYS, &names, NULL);
	for (size_t i = 0; i < names.n; i++) {
		_cleanup_free_ char *path = xasprintf(KEYS "/%s/" KEY_NAME, names.items[i]);
		if (same_file(m, path, m->config->signer.key))
			return true;
	}
	return false;
}

static int copy_file(const struct mix *m, const char *from, const char *to, mode_t mode, struct err *e)
{
	_cleanup_(buf_free) struct buf text = {0};

	int r = fs_load(m->config->dir, from, SMALL_TEXT_MAX, &text, e);
	return r < 0 ? r : fs_save(m->config->dir, to, text.data, text.len, mode, e);
}

/* The key in use gets its copy, as what root number brought. */
static int keep_key(const struct mix *m, uint32_t number, struct err *e)
{
	const struct signer *s = &m->config->signer;
	_cleanup_free_ char *dir = kept_path(number, ""), *key = kept_path(number, KEY_NAME);
	_cleanup_free_ char *cert = kept_path(number, CERT_NAME);

	if (!key_is_file(m) || key_is_kept(m))
		return 0;
	if (fs_exists(m->config->dir, key))
		return err_hint(
			e,
			err_set(e, -ERR_CONFLICT, "'%s' is not the key that root %" PRIu32 " brought", s->key, number),
			"move keys/%" PRIu32 " away if that key is not needed any more", number);
	int r = fs_mkdirs(m->config->dir, KEYS, 0700, e);
	if (r >= 0)
		r = fs_mkdirs(m->config->dir, dir, 0700, e);
	if (r >= 0)
		r = copy_file(m, s->cert, cert, 0644, e);
	return r < 0 ? r : copy_file(m, s->key, key, 0600, e);
}

/* Root 1 says what holds already: the certificate that machines have is root key and release key. */
static int make_first(const struct mix *m, struct err *e)
{
	const struct signer *s = &m->config->signer;
	_cleanup_(root_freep) struct root_keys *root = NULL;
	_cleanup_(strv_free) struct strv certs = {0};
	_cleanup_(buf_free) struct buf text = {0};

	strv_add(&certs, s->cert);
	int r = root_write(1, 1, &certs, &certs, s, 1, &text, e);
	if (r >= 0)
		r = root_parse(text.data, text.len, &root, e);
	if (r >= 0)
		r = root_verify(NULL, root, e);
	return r < 0 ? r : save_root(m, 1, &text, e);
}

int keys_pending(const struct mix *m, uint32_t *number)
{
	uint32_t newest = keys_newest_root(m);
	_cleanup_free_ char *waiting = kept_path(newest + 1, "root"), *key = kept_path(newest, KEY_NAME);
	_cleanup_free_ char *cert = kept_path(newest, CERT_NAME);

	*number = newest + 1;
	if (fs_exists(m->config->dir, waiting))
		return 1;
	*number = newest;
	if (newest && fs_exists(m->config->dir, key) && key_is_file(m) &&
	    (!same_file(m, key, m->config->signer.key) || !same_file(m, cert, m->config->signer.cert)))
		return 2;
	return 0;
}

static int check_complete(const struct mix *m, struct err *e)
{
	uint32_t number;

	switch (keys_pending(m, &number)) {
	case 1:
		return err_hint(e, err_set(e, -ERR_CONFLICT, "root %" PRIu32 " waits in keys/%" PRIu32, number, number),
				"'mixer key publish' publishes it; to begin anew remove keys/%" PRIu32, number);
	case 2:
		return err_hint(
			e,
			err_set(e, -ERR_CONFLICT, "root %" PRIu32 " is published, but its key is not in use", number),
			"'mixer key publish' completes it");
	default:
		return 0;
	}
}

/* A root file that is being made, in NEW. */
struct draft {
	const struct mix *m;
	uint32_t number;
	char *release_cert;            /* PEM of the certificate in use */
	struct strv before;            /* PEM of the root keys of the root before */
	struct strv roots;             /* PEM of its own root keys */
	struct strv root_files, files; /* names of certificates: root keys, release keys */
	struct strv signed_by;         /* PEM */
	struct buf text;
};

static void draft_free(struct draft *d)
{
	free(d->release_cert);
	strv_free(&d->before);
	strv_free(&d->roots);
	strv_free(&d->root_files);
	strv_free(&d->files);
	strv_free(&d->signed_by);
	buf_free(&d->text);
}

static char *absolute(const struct mix *m, const char *name)
{
	return xasprintf("%s/%s", m->config->path, name);
}

/* The new release key, or the certificate of one that is elsewhere. */
static int add_release_key(struct draft *d, const struct key_change *c, int64_t now, struct err *e)
{
	const struct mix *m = d->m;
	_cleanup_free_ char *name = xasprintf("Limpid %" PRIu32, d->number), *pem = NULL;
	int r;

	if (c->release_cert) {
		r = root_certificate_load(c->release_cert, &pem, e);
		if (r >= 0)
			r = fs_save(m->config->dir, NEW "/" CERT_NAME, pem, strlen(pem), 0644, e);
	} else if (key_is_file(m)) {
		r = signature_create_key(m->config->dir, NEW "/" KEY_NAME, NEW "/" CERT_NAME, c->type, name, KEY_YEARS,
					 now, e);
	} else {
		return err_hint(e,
				err_set(e, -ERR_CONFIG,
					"the key of this mix is kept elsewhere, so that no new one "
					"can be made here"),
				"make it where keys are kept, then use --release-cert=FILE with its certificate");
	}
	if (r >= 0)
		strv_take(&d->files, absolute(m, NEW "/" CERT_NAME));
	return r;
}

/* New ones that were named; else, where the release key is the only root key, it stays so; else those before. */
static int add_root_keys(struct draft *d, const struct key_change *c, struct err *e)
{
	const char *only = !c->drop && d->before.n == 1 && strcmp(d->before.items[0], d->release_cert) == 0
				   ? d->files.items[0]
				   : NULL;
	size_t named = c->root_certs ? c->root_certs->n : 0;
	size_t n = named ? named : d->before.n;

	for (size_t i = 0; i < n; i++) {
		const char *file = named ? c->root_certs->items[i] : only;
		_cleanup_free_ char *path = xasprintf(NEW "/root-%zu.pem", i + 1), *pem = NULL;
		int r = 0;
		if (file)
			r = root_certificate_load(file, &pem, e);
		else
			pem = xstrdup(d->before.items[i]);
		if (r >= 0)
			r = fs_save(d->m->config->dir, path, pem, strlen(pem), 0644, e);
		if (r < 0)
			return r;
		strv_take(&d->root_files, absolute(d->m, path));
		strv_take(&d->roots, take(pem));
	}
	return 0;
}

/* Sign with a key that is here, if its signature counts. */
static int sign_with(struct draft *d, const struct signer *s, struct err *e)
{
	_cleanup_free_ char *pem = NULL;

	int r = root_certificate_load(s->cert, &pem, e);
	if (r < 0)
		return r;
	if ((!strv_has(&d->before, pem) && !strv_has(&d->roots, pem)) || strv_has(&d->signed_by, pem))
		return 0;
	strv_take(&d->signed_by, take(pem));
	return root_sign(s, &d->text, e);
}

static int sign_with_kept(struct draft *d, struct err *e)
{
	_cleanup_(strv_free) struct strv names = {0};

	int r = sign_with(d, &d->m->config->signer, e);
	if (r >= 0)
		r = fs_list(d->m->config->dir, KEYS, &names, e);
	for (size_t i = 0; r >= 0 && i < names.n; i++) {
		_cleanup_free_ char *name = xasprintf(KEYS "/%s/" KEY_NAME, names.items[i]);
		_cleanup_free_ char *key = absolute(d->m, name);
		_cleanup_free_ char *cert = xasprintf("%s/" KEYS "/%s/" CERT_NAME, d->m->config->path, names.items[i]);
		if (fs_exists(d->m->config->dir, name))
			r = sign_with(d, &(struct signer){.cert = cert, .key = key}, e);
	}
	return r;
}

static int write_draft(struct draft *d, const struct key_change *c, uint32_t threshold, int64_t now, struct err *e)
{
	const struct mix *m = d->m;
	const uint32_t wanted = c->threshold ? c->threshold : c->root_certs && c->root_certs->n ? 1 : threshold;

	/* of a run that was killed: no one has seen that key */
	int r = fs_remove_tree(m->config->dir, NEW, e);
	if (r >= 0)
		r = fs_mkdirs(m->config->dir, KEYS, 0700, e);
	if (r >= 0)
		r = fs_mkdirs(m->config->dir, NEW, 0700, e);
	if (r >= 0 && !c->drop)
		r = add_release_key(d, c, now, e);
	strv_add(&d->files, m->config->signer.cert);
	if (r >= 0)
		r = add_root_keys(d, c, e);
	if (r >= 0)
		r = root_write(d->number, wanted, &d->root_files, &d->files, NULL, 0, &d->text, e);
	if (r >= 0)
		r = sign_with_kept(d, e);
	return r < 0 ? r : fs_save(m->config->dir, NEW "/root", d->text.data, d->text.len, 0644, e);
}

/* The certificate in use must be one that clients accept; of the root before, what the draft begins with. */
static int begin_draft(struct draft *d, const struct root_keys *cur, bool drop, struct err *e)
{
	_cleanup_(strv_free) struct strv release = {0};
	const char *cert = d->m->config->signer.cert;

	int r = root_certificate_load(cert, &d->release_cert, e);
	if (r < 0)
		return r;
	root_certificates(cur, RELEASE_KEYS, &release);
	root_certificates(cur, ROOT_KEYS, &d->before);
	if (!strv_has(&release, d->release_cert))
		return err_hint(
			e,
			err_set(e, -ERR_CONFLICT, "'%s' is not a release key of root %" PRIu32, cert, root_number(cur)),
			"'mixer key show' lists them");
	if (drop && release.n == 1)
		return err_set(e, -ERR_NO, "root %" PRIu32 " lists no other release key than the one in use",
			       root_number(cur));
	return 0;
}

int keys_prepare(const struct mix *m, const struct key_change *c, int64_t now, uint32_t *number, struct err *e)
{
	_cleanup_(root_freep) struct root_keys *cur = NULL;
	_cleanup_(draft_free) struct draft d = {.m = m, .number = MAX(keys_newest_root(m), 1U) + 1};
	_cleanup_free_ char *final = xasprintf(KEYS "/%" PRIu32, d.number);

	int r = check_complete(m, e);
	if (r >= 0 && c->drop && keys_newest_root(m) == 0)
		r = err_set(e, -ERR_NO, "there is only one release key");
	if (r >= 0)
		r = keep_key(m, d.number - 1, e);
	if (r >= 0 && keys_newest_root(m) == 0)
		r = make_first(m, e);
	if (r >= 0)
		r = keys_load_root(m, d.number - 1, &cur, e);
	if (r >= 0)
		r = begin_draft(&d, cur, c->drop, e);
	if (r >= 0)
		r = write_draft(&d, c, root_threshold(cur), now, e);
	if (r >= 0 && renameat(m->config->dir, NEW, m->config->dir, final) < 0)
		r = err_errno(e, "%s", final);
	if (r >= 0)
		r = fs_sync_dir(m->config->dir, KEYS, e);
	if (r < 0) {
		(void)fs_remove_tree(m->config->dir, NEW, NULL);
		return r == -ERR_NO ? r : err_in(e, r, "cannot make root %" PRIu32, d.number);
	}
	*number = d.number;
	return 0;
}

/* Who signs once a root is published: its new key, or who signed before. key and cert: owned names. */
static struct signer signer_of(const struct mix *m, uint32_t number, char **key, char **cert)
{
	_cleanup_free_ char *key_name = kept_path(number, KEY_NAME), *cert_name = kept_path(number, CERT_NAME);

	if (!fs_exists(m->config->dir, key_name) || !key_is_file(m))
		return m->config->signer;
	*key = absolute(m, key_name);
	*cert = absolute(m, cert_name);
	return (struct signer){.cert = *cert, .key = *key};
}

/* The root before a change, and who signs after it. */
struct signing {
	const struct root_keys *before;
	struct signer signer;
	struct anchors *anchors; /* of the signer */
	int64_t now;
};

/* A release that somebody else signed. */
static int sign_release_anew(const struct mix *m, const struct signing *s, const char *release, struct err *e)
{
	_cleanup_free_ char *mom = xasprintf(WWW "/%s/Manifest.MoM", release), *sig_path = xasprintf("%s.sig", mom);
	_cleanup_(buf_free) struct buf text = {0}, sig = {0}, made = {0};

	int r = fs_load(m->config->dir, mom, MANIFEST_MAX, &text, e);
	if (r >= 0)
		r = fs_load(m->config->dir, sig_path, SIGNATURE_MAX, &sig, e);
	if (r < 0)
		return r;
	if (signature_verify(s->anchors, text.data, text.len, sig.data, sig.len, s->now, NULL) == 0)
		return 0;
	if (!root_signed_release(s->before, text.data, text.len, sig.data, sig.len)) {
		ui_warn(m->ui, "release %s is not signed anew: it was not signed by a release key of root %" PRIu32,
			release, root_number(s->before));
		return 0;
	}
	r = signature_make(&s->signer, text.data, text.len, &made, e);
	return r < 0 ? r : fs_save(m->config->dir, sig_path, made.data, made.len, 0644, e);
}

static int sign_releases_anew(const struct mix *m, const struct signing *s, struct err *e)
{
	_cleanup_(strv_free) struct strv names = {0};
	uint32_t release;

	int r = fs_list(m->config->dir, WWW, &names, e);
	for (size_t i = 0; r >= 0 && i < names.n; i++) {
		_cleanup_free_ char *sig = xasprintf(WWW "/%s/Manifest.MoM.sig", names.items[i]);
		if (text_u32(names.items[i], 1, UINT32_MAX, &release) == 0 && fs_exists(m->config->dir, sig))
			r = sign_release_anew(m, s, names.items[i], e);
	}
	return r;
}

/* Who signs once next is published must be one of its release keys, and valid. */
static int check_signer(const struct root_keys *next, struct signing *s, struct err *e)
{
	_cleanup_(strv_free) struct strv release = {0};
	_cleanup_free_ char *pem = NULL;

	int r = root_certificate_load(s->signer.cert, &pem, e);
	if (r < 0)
		return r;
	root_certificates(next, RELEASE_KEYS, &release);
	if (!strv_has(&release, pem))
		return err_set(e, -ERR_CONFLICT, "'%s' is not a release key of it", s->signer.cert);
	return anchors_load(pem, strlen(pem), s->now, &s->anchors, e);
}

/* Signatures first: as long as the root is not there, clients are content with those in the tars. */
static int publish_root(const struct mix *m, uint32_t number, int64_t now, struct err *e)
{
	_cleanup_(root_freep) struct root_keys *cur = NULL;
	_cleanup_(root_freep) struct root_keys *next = NULL;
	_cleanup_(buf_free) struct buf text = {0};
	_cleanup_free_ char *path = kept_path(number, "root"), *key = NULL, *cert = NULL;

	int r = keys_load_root(m, number - 1, &cur, e);
	if (r >= 0)
		r = load_root(m, path, &text, &next, e);
	if (r >= 0)
		r = root_verify(cur, next, e);
	if (r == -ERR_SIGNATURE)
		return err_as(e, -ERR_NO);
	if (r < 0)
		return r;
	struct signing s = {.before = cur, .signer = signer_of(m, number, &key, &cert), .now = now};
	r = check_signer(next, &s, e);
	if (r >= 0)
		r = sign_releases_anew(m, &s, e);
	anchors_free(s.anchors);
	return r < 0 ? r : save_root(m, number, &text, e);
}

/* The key that the newest root brought comes into use, in the place of one that is kept. */
static int use_key(const struct mix *m, uint32_t number, struct err *e)
{
	_cleanup_free_ char *key = kept_path(number, KEY_NAME), *cert = kept_path(number, CERT_NAME);
	const struct signer *s = &m->config->signer;

	/* a root that only dropped keys brought none */
	if (!fs_exists(m->config->dir, cert))
		return 0;
	const bool same_cert = same_file(m, cert, s->cert);
	if (!fs_exists(m->config->dir, key) || !key_is_file(m)) {
		if (!same_cert)
			ui_message(m->ui, "name '%s' and what signs for it in mixer.conf to use the new key", cert);
		return 0;
	}
	if (same_cert && same_file(m, key, s->key))
		return 0;
	if (!key_is_kept(m))
		return err_hint(
			e, err_set(e, -ERR_CONFLICT, "'%s' would be overwritten, and there is no copy of it", s->key),
			"move it to keys/ if it is still needed");
	int r = copy_file(m, cert, s->cert, 0644, e);
	return r < 0 ? r : copy_file(m, key, s->key, 0600, e);
}

static bool is_signed(const struct mix *m, uint32_t release)
{
	_cleanup_free_ char *name = layout_mom_signature(release), *path = xasprintf(WWW "/%s", name);

	return fs_exists(m->config->dir, path);
}

int keys_publish(const struct mix *m, int64_t now, struct err *e)
{
	uint32_t number;
	int r = 0;

	if (keys_pending(m, &number) == 1)
		r = publish_root(m, number, now, e);
	if (r < 0)
		return r == -ERR_NO ? r : err_in(e, r, "cannot publish root %" PRIu32, number);
	if (number == 0)
		return err_set(e, -ERR_NO, "no root file waits for being published");
	r = use_key(m, number, e);
	/* of a release without a signature nothing is said */
	if (r >= 0 && m->previous && is_signed(m, m->previous))
		r = keys_freshen(m, e);
	return r;
}

/* Formats that ended: machines of theirs still have to get to the last release that they can read. */
static int freshen_ended(const struct mix *m, uint32_t current, struct err *e)
{
	_cleanup_(strv_free) struct strv names = {0};
	struct mix of_format = *m;
	uint32_t release;

	int r = fs_list(m->config->dir, WWW "/version", &names, e);
	for (size_t i = 0; r >= 0 && i < names.n; i++) {
		const char *name = names.items[i];
		_cleanup_free_ char *path = xasprintf(WWW "/version/%s/latest", name), *sig = xasprintf("%s.sig", path);
		_cleanup_(buf_free) struct buf text = {0};
		if (!text_starts(name, "format") ||
		    text_u32(name + strlen("format"), 1, UINT32_MAX, &of_format.format) < 0 ||
		    of_format.format == current || !fs_exists(m->config->dir, sig))
			continue;
		r = fs_load(m->config->dir, path, SMALL_TEXT_MAX, &text, e);
		if (r >= 0 && text_u32(text.data, 1, UINT32_MAX, &release) < 0)
			r = err_set(e, -ERR_FORMAT, "%s is not the number of a release", path);
		if (r >= 0)
			r = publish_freshness(&of_format, release, true, e);
	}
	return r;
}

int keys_freshen(const struct mix *m, struct err *e)
{
	struct mix_state state;
	struct mix of_format = *m;

	if (m->previous == 0)
		return err_set(e, -ERR_NO, "no release is published yet");
	if (!is_signed(m, m->previous))
		return err_set(e, -ERR_CONFLICT, "release %" PRIu32 " is not signed", m->previous);
	/* mixer.conf may name the format of the next release already */
	int r = mix_state_load(m->config, &state, e);
	if (r < 0)
		return r;
	of_format.format = state.format;
	r = freshen_ended(m, state.format, e);
	return r < 0 ? r : publish_latest(&of_format, m->previous, true, e);
}
