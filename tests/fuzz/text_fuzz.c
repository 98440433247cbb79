/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "swupd/base/conf.h"
#include "swupd/base/json.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/client/alias.h"
#include "swupd/client/machine.h"
#include "swupd/client/mounts.h"
#include "swupd/client/url.h"
#include "swupd/content/ways.h"

/* The small texts that a system has: configuration, aliases, os-release, mountinfo, URLs; and the ways that a server tells of. */

static int on_key(void *arg, const char *section, const char *key, const char *value,
		  struct err *e __attribute__((unused)))
{
	size_t *n = arg;

	*n += 1 + strlen(section) + strlen(value);
	FUZZ_CHECK(*key);
	return 0;
}

/* Any bytes become one line that is valid JSON: no control characters, no quote that is not escaped. */
static void try_json(const char *text)
{
	_cleanup_(buf_free) struct buf b = {0};

	json_string(&b, text);
	FUZZ_CHECK(b.len >= 2 && b.data[0] == '"' && b.data[b.len - 1] == '"');
	for (size_t i = 1; i + 1 < b.len; i++) {
		FUZZ_CHECK((unsigned char)b.data[i] >= 0x20 && b.data[i] != '"');
		if (b.data[i] == '\\')
			i++;
	}
}

#define NEWEST 1000

/* Whatever the list says, each way that is chosen goes up and ends. */
static void try_ways(const char *text, size_t len)
{
	_cleanup_(ways_clear) struct ways all = {0}, chosen = {0}, again = {0}, same = {0}, unsized = {0};
	_cleanup_(buf_free) struct buf list = {0};

	ways_parse(text, len, NEWEST, &all);
	ways_choose(&all, NEWEST, &chosen);
	for (size_t i = 0; i < chosen.n; i++) {
		unsigned steps = 0;
		for (uint32_t at = chosen.items[i].from; at != NEWEST;) {
			const struct way_step *step = ways_next(&chosen, at);
			FUZZ_CHECK(step && step->to > at && step->to <= NEWEST && ++steps <= WAYS_STEPS_MAX);
			at = step->to;
		}
	}
	buf_puts(&list, "");
	ways_format(&chosen, &list);
	ways_parse(list.data, list.len, NEWEST, &again);
	ways_choose(&again, NEWEST, &same);
	FUZZ_CHECK(same.n == chosen.n);
	/* bytes never decide whether there is a way */
	ways_forget_sizes(&all);
	ways_choose(&all, NEWEST, &unsized);
	FUZZ_CHECK(unsized.n == chosen.n);
	for (size_t i = 0; i < unsized.n; i++)
		FUZZ_CHECK(unsized.items[i].from == chosen.items[i].from);
}

/* One spelling, which stays as it is, and is of the same path. */
static void try_url(const char *source)
{
	_cleanup_free_ char *url = url_normal(source);
	_cleanup_free_ char *again = url_normal(url);
	_cleanup_free_ char *said = *source == '/' ? xstrdup(source) : url_path(source);
	_cleanup_free_ char *path = url_path(url);

	FUZZ_CHECK(strcmp(url, again) == 0);
	FUZZ_CHECK(!said == !path);
	if (!path)
		return;
	const size_t len = strlen(path);
	FUZZ_CHECK(len == 1 || path[len - 1] != '/');
	FUZZ_CHECK(path[0] == '/' && strncmp(path, said, len) == 0 && said[len + strspn(said + len, "/")] == '\0');
	for (const char *s = url; *s; s++)
		FUZZ_CHECK(*s > ' ' && *s <= '~');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(strv_free) struct strv bundles = {0}, mounts = {0};
	_cleanup_free_ char *exact = xmemdup(data, size);
	_cleanup_free_ char *text = xstrndup((const char *)data, size);
	size_t n = 0;

	(void)conf_parse(exact, size, "fuzz", on_key, &n, NULL);
	(void)alias_parse(exact, size, "alias", &bundles);
	(void)os_release_version(text);
	mounts_parse(text, "/", &mounts);
	mounts_parse(text, "/root", &mounts);
	for (size_t i = 0; i < mounts.n; i++)
		FUZZ_CHECK(mounts.items[i][0] == '/' && mounts.items[i][1]);
	try_json(text);
	try_ways(exact, size);
	try_url(text);
	return 0;
}
