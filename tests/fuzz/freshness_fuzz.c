/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/content/freshness.h"
#include "swupd/content/root.h"
#include "swupd/content/statement.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

/* What is accepted has only one text: it is written again and compared. */
static void try_freshness(const char *text, size_t len)
{
	_cleanup_(buf_free) struct buf sig = {0}, again = {0};
	_cleanup_(freshness_clear) struct freshness f = {0};
	size_t signed_len = 0;

	if (freshness_parse(text, len, &f, &signed_len, &sig, NULL) < 0)
		return;
	freshness_format(&f, &again);
	must(again.len == signed_len);
	statement_add_block(&again, "CMS", sig.data, sig.len);
	must(again.len == len && memcmp(again.data, text, len) == 0);
}

/* Whatever is accepted as a root can be shown and used, and never follows itself. */
static void try_root(const char *text, size_t len)
{
	_cleanup_(root_freep) struct root_keys *r = NULL;
	_cleanup_(anchors_freep) struct anchors *a = NULL;

	if (root_parse(text, len, &r, NULL) < 0)
		return;
	must(root_number(r) > 0 && root_threshold(r) > 0);
	(void)root_verify(NULL, r, NULL);
	must(root_verify(r, r, NULL) < 0);
	_cleanup_free_ char *said = root_describe(r);
	must(strlen(said) > 0);
	if (root_anchors(r, 1763700000, &a, NULL) < 0)
		return;
	(void)root_verify_first(r, a, NULL);
	/* the text as a signature, and as anchors */
	must(signature_verify(a, text, len, text, len, 1763700000, NULL) < 0);
}

static void try_signature(const uint8_t *data, size_t size)
{
	_cleanup_(anchors_freep) struct anchors *a = NULL;

	/* certificate in PEM, then a signature in DER behind a NUL */
	const uint8_t *nul = memchr(data, '\0', size);
	if (!nul || anchors_load((const char *)data, (size_t)(nul - data), 1763700000, &a, NULL) < 0)
		return;
	_cleanup_free_ char *said = anchors_describe(a);
	must(strlen(said) > 0);
	(void)signature_verify(a, "data", 4, nul + 1, size - (size_t)(nul + 1 - data), 1763700000, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* an exact copy: the parsers must not look behind the end */
	_cleanup_free_ uint8_t *copy = xmemdup(data, size);

	try_freshness((const char *)copy, size);
	try_root((const char *)copy, size);
	try_signature(copy, size);
	return 0;
}
