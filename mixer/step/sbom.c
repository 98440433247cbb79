/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/sbom.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "mixer/input/lock.h"
#include "mixer/input/tree.h"
#include "mixer/step/notices.h"
#include "swupd/base/err.h"
#include "swupd/base/json.h"
#include "swupd/base/mem.h"
#include "swupd/base/table.h"
#include "swupd/base/text.h"

#define NOTICE_MAX (16UL << 20) /* bytes of one copyright file; a browser's has 2 MB */

/* SPDX identifiers have letters, digits, '.' and '-'; others become '-' and their code, so that names stay apart. */
static void add_id(struct buf *out, const char *kind, const char *name)
{
	buf_printf(out, "SPDXRef-%s-", kind);
	for (; *name; name++) {
		if (isalnum((unsigned char)*name) || *name == '.' || *name == '-')
			buf_putc(out, *name);
		else
			buf_printf(out, "-%02x-", (unsigned char)*name);
	}
}

static void add_purl_part(struct buf *out, const char *text)
{
	for (; *text; text++) {
		if (isalnum((unsigned char)*text) || strchr(".-_~", *text))
			buf_putc(out, *text);
		else
			buf_printf(out, "%%%02X", (unsigned char)*text);
	}
}

/* "LicenseRef-" and the first half of the text's digest */
static void add_reference(struct buf *out, const struct node *notice)
{
	char hex[DIGEST_HEX];

	digest_format(&notice->hash, hex);
	buf_printf(out, "LicenseRef-%.32s", hex);
}

static void add_package(const struct locked_package *p, const struct node *notice, struct buf *out)
{
	char hex[DIGEST_HEX];

	digest_format(&p->sha256, hex);
	buf_puts(out, "    {\n      \"SPDXID\": \"");
	add_id(out, "package", p->name);
	buf_puts(out, "\",\n      \"name\": ");
	json_string(out, p->name);
	buf_puts(out, ",\n      \"versionInfo\": ");
	json_string(out, p->version);
	buf_puts(out, ",\n      \"packageFileName\": ");
	json_string(out, p->file);
	buf_printf(out,
		   ",\n      \"downloadLocation\": \"NOASSERTION\",\n      \"filesAnalyzed\": false,\n"
		   "      \"copyrightText\": \"NOASSERTION\",\n"
		   "      \"checksums\": [{\"algorithm\": \"SHA256\", \"checksumValue\": \"%s\"}],\n      "
		   "\"sourceInfo\": ",
		   hex);
	_cleanup_free_ char *source = xasprintf("built from source package %s %s", p->source, p->source_version);
	json_string(out, source);
	buf_puts(out, ",\n      \"licenseConcluded\": \"NOASSERTION\",\n      \"licenseDeclared\": \"");
	if (notice)
		add_reference(out, notice);
	else
		buf_puts(out, "NOASSERTION");
	buf_puts(out, "\",\n      \"externalRefs\": [{\"referenceCategory\": \"PACKAGE-MANAGER\", \"referenceType\": "
		      "\"purl\", "
		      "\"referenceLocator\": \"pkg:deb/debian/");
	add_purl_part(out, p->name);
	buf_putc(out, '@');
	add_purl_part(out, p->version);
	buf_puts(out, "?arch=");
	add_purl_part(out, p->arch);
	buf_puts(out, "\"}]\n    }");
}

/* from NULL: the document itself */
static void add_relation(struct buf *out, bool *first, const char *from, const char *relation, const char *to_kind,
			 const char *to)
{
	buf_printf(out, "%s\n    {\"spdxElementId\": \"", *first ? "" : ",");
	if (from)
		add_id(out, "bundle", from);
	else
		buf_puts(out, "SPDXRef-DOCUMENT");
	buf_printf(out, "\", \"relationshipType\": \"%s\", \"relatedSpdxElement\": \"", relation);
	add_id(out, to_kind, to);
	buf_puts(out, "\"}");
	*first = false;
}

static int add_text(const struct node *notice, const struct store *s, struct buf *out, struct err *e)
{
	_cleanup_(buf_free) struct buf text = {0};

	int r = store_load(s, &notice->hash, NOTICE_MAX, &text, e);
	if (r < 0)
		return err_in(e, r, "%s", notice->path);
	buf_puts(out, "    {\"licenseId\": \"");
	add_reference(out, notice);
	buf_puts(out, "\", \"name\": ");
	json_string(out, notice->path + 1);
	buf_puts(out, ", \"extractedText\": ");
	json_string(out, text.data ? text.data : "");
	buf_putc(out, '}');
	return 0;
}

/* Every text once, whoever has it. */
static int add_texts(const struct tree *notices, const struct store *s, struct buf *out, struct err *e)
{
	_cleanup_(table_freep) struct table *seen = table_new();
	bool first = true;

	buf_puts(out, "  \"hasExtractedLicensingInfos\": [");
	for (size_t i = 0; i < notices->n; i++) {
		struct node *n = &notices->nodes[i];
		if (n->attrs.kind != KIND_FILE || table_add(seen, &n->hash, sizeof(n->hash), n))
			continue;
		buf_puts(out, first ? "\n" : ",\n");
		first = false;
		int r = add_text(n, s, out, e);
		if (r < 0)
			return r;
	}
	buf_puts(out, "\n  ],\n");
	return 0;
}

int sbom_format(const struct lock *l, const char *name, uint32_t release, const struct tree *notices,
		const struct store *s, struct buf *out, struct err *e)
{
	time_t seconds = (time_t)l->time;
	char created[32], hex[DIGEST_HEX];
	struct tm tm;

	gmtime_r(&seconds, &tm);
	strftime(created, sizeof(created), "%Y-%m-%dT%H:%M:%SZ", &tm);
	digest_format(&l->input, hex);
	buf_puts(out, "{\n  \"spdxVersion\": \"SPDX-2.3\",\n  \"dataLicense\": \"CC0-1.0\",\n  \"SPDXID\": "
		      "\"SPDXRef-DOCUMENT\",\n"
		      "  \"name\": ");
	_cleanup_free_ char *title = xasprintf("%s %u", name, release);
	json_string(out, title);
	buf_printf(out, ",\n  \"documentNamespace\": \"https://spdx.org/spdxdocs/release-%u-%lld-%s\",\n", release,
		   (long long)l->time, hex);
	buf_printf(out,
		   "  \"creationInfo\": {\"created\": \"%s\", \"creators\": [\"Tool: mixer\"]},\n  \"packages\": [\n",
		   created);
	const char *between = "";
	for (size_t i = 0; i < l->n_bundles; i++) {
		buf_printf(out, "%s    {\"SPDXID\": \"", between);
		between = ",\n";
		add_id(out, "bundle", l->bundles[i].name);
		buf_puts(out, "\", \"name\": ");
		json_string(out, l->bundles[i].name);
		buf_printf(out,
			   ", \"versionInfo\": \"%u\", \"downloadLocation\": \"NOASSERTION\", \"filesAnalyzed\": "
			   "false}",
			   release);
	}
	/* what is only published beside the release is no part of it */
	for (size_t i = 0; i < l->n_packages; i++) {
		if (!lock_is_shipped(l, l->packages[i].name))
			continue;
		buf_puts(out, between);
		between = ",\n";
		add_package(&l->packages[i], notices_find(notices, l->packages[i].name), out);
	}
	buf_puts(out, *between ? "\n  ],\n" : "  ],\n");
	int r = add_texts(notices, s, out, e);
	if (r < 0)
		return err_in(e, r, "SBOM");
	buf_puts(out, "  \"relationships\": [");
	bool first = true;
	for (size_t i = 0; i < l->n_bundles; i++)
		add_relation(out, &first, NULL, "DESCRIBES", "bundle", l->bundles[i].name);
	for (size_t i = 0; i < l->n_bundles; i++)
		for (size_t k = 0; k < l->bundles[i].n_packages; k++)
			add_relation(out, &first, l->bundles[i].name, "CONTAINS", "package", l->bundles[i].packages[k]);
	buf_puts(out, "\n  ]\n}\n");
	return 0;
}
