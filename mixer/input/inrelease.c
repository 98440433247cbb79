/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/input/inrelease.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "swupd/base/err.h"
#include "swupd/base/proc.h"
#include "swupd/base/text.h"

/* A word of gpgv's machine-readable lines ("[GNUPG:] GOODSIG …"): the rest of the line that has it, or NULL. */
static const char *find_status(const char *lines, const char *word)
{
	_cleanup_free_ char *prefix = xasprintf("[GNUPG:] %s", word);

	for (const char *s = lines; s && *s; s = strchr(s, '\n'), s = s ? s + 1 : NULL)
		if (text_starts(s, prefix) && strchr(" \n", s[strlen(prefix)]))
			return s + strlen(prefix);
	return NULL;
}

static int no_good_signature(const char *status, const char *keyring, struct err *e)
{
	const char *key = find_status(status, "NO_PUBKEY");

	if (key) {
		key += strspn(key, " ");
		int r = err_set(e, -ERR_SIGNATURE, "it is signed by key %.*s, which is not in %s",
				(int)strcspn(key, " \n"), key, keyring);
		return err_hint(e, r, "install a newer debian-archive-keyring, or name the keyring with 'keyring ='");
	}
	if (find_status(status, "EXPKEYSIG"))
		return err_set(e, -ERR_SIGNATURE, "the key that signed it has expired");
	if (find_status(status, "EXPSIG"))
		return err_set(e, -ERR_SIGNATURE, "its signature has expired");
	if (find_status(status, "REVKEYSIG"))
		return err_set(e, -ERR_SIGNATURE, "the key that signed it was revoked");
	return err_set(e, -ERR_SIGNATURE, "it is not signed");
}

int inrelease_verify(const char *data, size_t len, const char *keyring, struct buf *text, struct err *e)
{
	const char *const argv[] = {"gpgv", "--status-fd", "2", "--keyring", keyring, "--output", "-", NULL};
	_cleanup_(buf_free) struct buf out = {0}, status = {0};
	const struct proc p = {
		.argv = argv, .dirfd = AT_FDCWD, .input = data, .input_len = len, .out = &out, .errors = &status};

	int r = proc_run(&p, e);
	if (r < 0)
		return r == -ENOENT ? err_hint(e, r, "apt install gpgv") : r;
	buf_puts(&status, "");
	/*
	 * Not by the status alone: a file may be signed by several keys, old and new, and not every keyring has all of them. One good signature is
	 * enough, a bad one is never all right.
	 */
	if (find_status(status.data, "BADSIG"))
		return err_set(e, -ERR_SIGNATURE, "it was changed after it was signed");
	if (!find_status(status.data, "GOODSIG"))
		return no_good_signature(status.data, keyring, e);
	if (out.len == 0)
		return err_set(e, -ERR_SIGNATURE, "nothing in it is signed");
	buf_add(text, out.data, out.len);
	return 0;
}

void inrelease_free(struct inrelease *r)
{
	if (!r)
		return;
	free(r->suite);
	free(r->codename);
	free(r->files);
	arena_free(r->arena);
	free(r);
}

char *time_format(int64_t t)
{
	time_t seconds = (time_t)t;
	struct tm tm;
	char text[32];

	if (!gmtime_r(&seconds, &tm) || strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		return xstrdup("?");
	return xstrdup(text);
}

/* "Sat, 12 Sep 2026 07:55:41 UTC" */
static int parse_time(const char *s, int64_t *out, struct err *e)
{
	struct tm tm = {0};
	const char *rest = strptime(s, "%a, %d %b %Y %H:%M:%S ", &tm);

	if (!rest || (strcmp(rest, "UTC") != 0 && strcmp(rest, "GMT") != 0 && strcmp(rest, "+0000") != 0))
		return err_set(e, -ERR_FORMAT, "'%s' is no date", s);
	*out = (int64_t)timegm(&tm);
	return 0;
}

/* " <sha256>  <size> <path>" */
static int parse_file(struct inrelease *r, char *line, struct err *e)
{
	char *saved = NULL;
	const char *hex = strtok_r(line, " \t", &saved), *size = strtok_r(NULL, " \t", &saved),
		   *path = strtok_r(NULL, " \t", &saved);
	struct inrelease_file f;

	if (!hex || !size || !path || strlen(hex) != DIGEST_HEX - 1 || digest_parse(hex, &f.sha256) < 0 ||
	    text_u64(size, 0, INT64_MAX, &f.size) < 0)
		return err_set(e, -ERR_FORMAT, "its list of files is damaged");
	f.path = arena_strdup(r->arena, path);
	VEC_GROW(r->files, r->n, r->cap);
	r->files[r->n++] = f;
	return 0;
}

static int parse_field(struct inrelease *r, const char *name, const char *value, struct err *e)
{
	if (strcasecmp(name, "Suite") == 0 || strcasecmp(name, "Codename") == 0) {
		char **field = strcasecmp(name, "Suite") == 0 ? &r->suite : &r->codename;
		free(*field);
		*field = xstrdup(value);
	} else if (strcasecmp(name, "Date") == 0) {
		return parse_time(value, &r->date, e);
	} else if (strcasecmp(name, "Valid-Until") == 0) {
		return parse_time(value, &r->valid_until, e);
	} else if (strcasecmp(name, "Acquire-By-Hash") == 0) {
		r->by_hash = strcmp(value, "yes") == 0;
	} else if (strcasecmp(name, "Architectures") == 0) {
		_cleanup_(strv_free) struct strv words = {0};
		strv_split(&words, value, " \t");
		r->all_apart = strv_has(&words, "all");
	} else if (strcasecmp(name, "No-Support-for-Architecture-all") == 0) {
		r->all_inside = strstr(value, "Packages") != NULL;
	}
	return 0;
}

static int compare_files(const void *a, const void *b)
{
	return strcmp(((const struct inrelease_file *)a)->path, ((const struct inrelease_file *)b)->path);
}

int inrelease_parse(const char *text, size_t len, struct inrelease **out, struct err *e)
{
	_cleanup_(inrelease_freep) struct inrelease *r = xcalloc(1, sizeof(*r));
	const char *pos = text, *line;
	bool in_list = false;
	size_t n;

	r->arena = arena_new();
	r->suite = xstrdup("");
	r->codename = xstrdup("");
	while (text_line(&pos, text + len, &line, &n, NULL)) {
		_cleanup_free_ char *copy = xstrndup(line, n);
		int result = 0;
		copy[strcspn(copy, "\r")] = '\0';
		if (*copy == ' ' || *copy == '\t') {
			result = in_list ? parse_file(r, copy, e) : 0;
		} else {
			char *colon = strchr(copy, ':');
			if (colon) {
				*colon = '\0';
				in_list = strcasecmp(copy, "SHA256") == 0;
				result = parse_field(r, copy, text_trim(colon + 1), e);
			}
		}
		if (result < 0)
			return result;
	}
	if (r->date == 0 || r->n == 0)
		return err_set(e, -ERR_FORMAT, "it has no %s", r->n ? "Date" : "list of files with SHA256");
	r->all_apart = r->all_apart && !r->all_inside;
	qsort(r->files, r->n, sizeof(*r->files), compare_files);
	*out = take(r);
	return 0;
}

int inrelease_check(const struct inrelease *r, const char *suite, int64_t now, struct err *e)
{
	/* "stable" and "trixie" are the same; a signed file of another suite in its place is an attack or a mirror in disorder */
	if (strcmp(r->suite, suite) != 0 && strcmp(r->codename, suite) != 0)
		return err_set(e, -ERR_SIGNATURE, "it is for suite '%s' ('%s'), not for '%s'", r->suite, r->codename,
			       suite);
	if (r->valid_until && now > r->valid_until) {
		_cleanup_free_ char *until = time_format(r->valid_until);
		int result = err_set(e, -ERR_EXPIRED, "it was valid until %s only", until);
		return err_hint(e, result,
				"the mirror does not follow the archive any more, or this machine's clock is wrong");
	}
	return 0;
}

const struct inrelease_file *inrelease_find(const struct inrelease *r, const char *path)
{
	const struct inrelease_file key = {.path = path};

	return r->n ? bsearch(&key, r->files, r->n, sizeof(key), compare_files) : NULL;
}
